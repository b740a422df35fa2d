/**
 * Who a peer is: the one URI `restitch://<cluster>/<role>/<name>` among the alternative names of its verified
 * certificate, as SPIFFE does it. Host names prove nothing here: addresses move, names and roles do not.
 */
import type { X509Certificate } from 'node:crypto';
import { RestitchError } from '@restitch/core';
import type { PeerIdentity, PeerRole } from './contract.js';

/** The roles a certificate can give. */
export const peerRoles: readonly PeerRole[] = ['access-point', 'endpoint', 'operator'];

const label = '[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?';
const identityUri = new RegExp(`^restitch://(${label})/(${peerRoles.join('|')})/(${label})$`);

/** What a peer must be to be let in. */
export interface PeerExpectation {
  readonly role: PeerRole;
  readonly name?: string;
}

/** The URI of an identity. Throws `usage` for a name a certificate cannot carry. */
export function formatIdentity(identity: PeerIdentity): string {
  const uri = `restitch://${identity.cluster}/${identity.role}/${identity.name}`;
  if (!identityUri.test(uri)) {
    throw new RestitchError(
      'usage',
      `not an identity: ${JSON.stringify(uri)}; cluster and name are lower-case letters, digits, dots and dashes`,
    );
  }
  return uri;
}

/** The identity a URI names, or undefined. */
export function parseIdentity(uri: string): PeerIdentity | undefined {
  const match = identityUri.exec(uri);
  if (match === null) return undefined;
  const [, cluster = '', role = '', name = ''] = match;
  return { cluster, role: role as PeerRole, name };
}

/**
 * The identity in a certificate whose chain has been verified already. Throws `not_authenticated` unless it is an
 * end certificate with exactly one restitch URI. Quoted names are refused whole: Node quotes what could be
 * mistaken for a separator (CVE-2021-44532).
 */
export function certificateIdentity(certificate: X509Certificate): PeerIdentity {
  const refuse = (what: string): RestitchError =>
    new RestitchError('not_authenticated', `certificate ${what}`, { details: { reason: 'no_identity' } });
  if (certificate.ca) throw refuse('of an authority cannot stand for a peer');
  const names = certificate.subjectAltName ?? '';
  if (names.includes('"')) throw refuse('has alternative names with special characters');
  const uris = names.split(', ').filter((part) => part.startsWith('URI:restitch:'));
  const identity = uris.length === 1 ? parseIdentity((uris[0] as string).slice(4)) : undefined;
  if (identity === undefined) {
    throw refuse(
      `has ${uris.length} URIs restitch://<cluster>/<role>/<name> that can be read, needs exactly one`,
    );
  }
  return identity;
}

/** Throws `forbidden` unless the peer is of the own cluster and one of the expected. */
export function assertPeerAllowed(
  peer: PeerIdentity,
  cluster: string,
  allowed: readonly PeerExpectation[],
): void {
  const refuse = (reason: string, message: string): RestitchError =>
    new RestitchError('forbidden', message, { details: { reason } });
  const who = `${peer.role} ${peer.name} of cluster ${peer.cluster}`;
  if (peer.cluster !== cluster) throw refuse('wrong_cluster', `${who} is not of cluster ${cluster}`);
  const sameRole = allowed.filter((e) => e.role === peer.role);
  if (sameRole.length === 0) {
    throw refuse('wrong_role', `${who} is not one of: ${allowed.map((e) => e.role).join(', ')}`);
  }
  if (!sameRole.some((e) => e.name === undefined || e.name === peer.name)) {
    throw refuse('wrong_name', `${who} is not ${sameRole.map((e) => e.name).join(' or ')}`);
  }
}
