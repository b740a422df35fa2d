/**
 * A development certificate authority: enough to run restitch with mutual TLS on day one, and no more.
 *
 * ECDSA P-256, because a handshake with it costs a third of one with RSA 2048. @peculiar/x509 builds the certificates;
 * node:crypto can read them but not make them. Whoever has a real authority needs only the URI SAN.
 */
import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { type PeerRole, type TlsFiles, formatIdentity } from '@restitch/channel';
import { type Clock, RestitchError, systemClock } from '@restitch/core';

/** Long enough that nobody meets an expired authority in a project's life, short enough to be no forever key. */
export const defaultCaDays = 3650;
/** Rotation is one command and needs no restart, so certificates need not be old. */
export const defaultCertificateDays = 90;

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const dayMs = 86_400_000;
/** Clocks of two hosts differ; a fresh certificate must be valid on both. */
const backdateMs = 3_600_000;

/** How `issue` works. @public */
export interface IssueOptions {
  /** Days from now; negative makes one that has expired, for tests. */
  readonly validDays?: number;
  /** Replaces files that are there. */
  readonly force?: boolean;
  /** Another cluster than the authority's own: one authority may serve several. */
  readonly cluster?: string;
}

/** A development authority in a directory. */
export interface DevPki {
  readonly directory: string;
  readonly cluster: string;
  readonly caFile: string;
  /** Makes `<role>-<name>.crt` and `.key` (mode 0600). Throws `usage` if they exist and `force` is not set. */
  issue(role: PeerRole, name: string, options?: IssueOptions): Promise<TlsFiles>;
}

/** What `createDevPki` may be told. */
export interface CreatePkiOptions {
  /** Part of every identity; parties of different clusters refuse each other. */
  readonly cluster?: string;
  readonly validDays?: number;
  readonly force?: boolean;
  readonly clock?: Clock;
}

/** Makes a new authority in `directory` (0700). Throws `usage` if there is one and `force` is not set. */
export async function createDevPki(directory: string, options: CreatePkiOptions = {}): Promise<DevPki> {
  const { cluster = 'dev', validDays = defaultCaDays, clock = systemClock } = options;
  formatIdentity({ cluster, role: 'operator', name: 'check' });
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  assertAbsent([join(directory, 'ca.crt'), join(directory, 'ca.key')], options.force);
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, [
    'sign',
    'verify',
  ])) as webcrypto.CryptoKeyPair;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: randomSerial(),
    name: `CN=restitch development CA, O=${cluster}`,
    ...validity(clock, validDays),
    signingAlgorithm: algorithm,
    keys: keys as never,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey as never),
    ],
  });
  writeSecret(join(directory, 'ca.key'), await exportKey(keys.privateKey));
  writePublic(join(directory, 'ca.crt'), certificate.toString('pem'));
  return openDevPki(directory, { clock });
}

/** The authority that `createDevPki` made in `directory`. Throws `usage` if there is none. */
export async function openDevPki(
  directory: string,
  { clock = systemClock }: { readonly clock?: Clock } = {},
): Promise<DevPki> {
  const caFile = join(directory, 'ca.crt');
  if (!existsSync(caFile) || !existsSync(join(directory, 'ca.key'))) {
    throw new RestitchError(
      'usage',
      `no development CA in ${directory}; make one with: restitch pki init --dir ${directory}`,
    );
  }
  const ca = new x509.X509Certificate(readFileSync(caFile, 'utf8'));
  const caKey = await importKey(readFileSync(join(directory, 'ca.key'), 'utf8'));
  const cluster = ca.subjectName.getField('O')[0] ?? '';
  return {
    directory,
    cluster,
    caFile,
    async issue(role, name, issueOptions = {}) {
      const uri = formatIdentity({ cluster: issueOptions.cluster ?? cluster, role, name });
      const certFile = join(directory, `${role}-${name}.crt`);
      const keyFile = join(directory, `${role}-${name}.key`);
      assertAbsent([certFile, keyFile], issueOptions.force);
      const { certificate, key } = await sign({ ca, caKey, uri, commonName: name, clock, issueOptions });
      writeSecret(keyFile, key);
      writePublic(certFile, certificate);
      return { certFile, keyFile, caFile };
    },
  };
}

interface SignRequest {
  readonly ca: x509.X509Certificate;
  readonly caKey: webcrypto.CryptoKey;
  readonly uri: string;
  readonly commonName: string;
  readonly clock: Clock;
  readonly issueOptions: IssueOptions;
}

async function sign(request: SignRequest): Promise<{ certificate: string; key: string }> {
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, [
    'sign',
    'verify',
  ])) as webcrypto.CryptoKeyPair;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: `CN=${request.commonName}`,
    issuer: request.ca.subject,
    ...validity(request.clock, request.issueOptions.validDays ?? defaultCertificateDays, request.ca.notAfter),
    signingAlgorithm: algorithm,
    publicKey: keys.publicKey as never,
    signingKey: request.caKey as never,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      // Every party but an operator both dials and listens.
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.clientAuth,
        x509.ExtendedKeyUsage.serverAuth,
      ]),
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: request.uri }]),
      await x509.AuthorityKeyIdentifierExtension.create(request.ca.publicKey as never),
    ],
  });
  return { certificate: certificate.toString('pem'), key: await exportKey(keys.privateKey) };
}

function validity(clock: Clock, days: number, latest?: Date): { notBefore: Date; notAfter: Date } {
  const nowMs = clock.wallMs();
  const endMs = Math.min(nowMs + days * dayMs, latest?.getTime() ?? Number.POSITIVE_INFINITY);
  const startMs = days < 0 ? endMs - dayMs : nowMs - backdateMs;
  return { notBefore: new Date(startMs), notAfter: new Date(endMs) };
}

function assertAbsent(files: readonly string[], force: boolean | undefined): void {
  const there = files.filter((file) => existsSync(file));
  if (there.length > 0 && force !== true) {
    throw new RestitchError('usage', `${there.join(', ')} exists; give --force to replace it`);
  }
}

/** Written aside and renamed: a party that rotates at this moment reads the old file or the new, never half of one. */
function writeSecret(file: string, text: string): void {
  const aside = `${file}.new`;
  writeFileSync(aside, `${text}\n`, { mode: 0o600 });
  chmodSync(aside, 0o600);
  renameSync(aside, file);
}

/** Ends with a line's end: authorities are put together with cat. */
function writePublic(file: string, text: string): void {
  const aside = `${file}.new`;
  writeFileSync(aside, `${text}\n`, { mode: 0o644 });
  renameSync(aside, file);
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey('pkcs8', x509.PemConverter.decodeFirst(pem), algorithm, false, ['sign']);
}

/** A positive 128-bit serial (RFC 5280 §4.1.2.2 allows 20 bytes). */
function randomSerial(): string {
  const serial = randomBytes(16);
  serial[0] = ((serial[0] as number) & 0x7f) | 0x40;
  return serial.toString('hex');
}
