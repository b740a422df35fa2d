/** What a configuration needs of the host it stands on: addresses, interface, files, certificates, neighbours. */
import { X509Certificate } from 'node:crypto';
import type { DaemonConfig } from '@restitch/access-point/internal';
import { parseIdentity } from '@restitch/channel';
import { type Clock, normalizeAddress } from '@restitch/core';
import type { Check, HostRole } from '@restitch/console';
import type { HostFacts } from '@restitch/console';

const role: readonly HostRole[] = ['access-point', 'lab'];

/** A certificate that ends within this many days is reported while there is time. */
const expiryWarningDays = 14;

/** The checks of one configuration. */
export function configChecks(config: DaemonConfig, clock: Clock): Check[] {
  return [
    interfaceCheck(config),
    ...[...new Set(config.listeners.map((l) => l.vip.address))].map((vip) => vipCheck(config, vip)),
    controlAddressCheck(config),
    neighbourCheck(config),
    ...tlsChecks(config, clock),
    {
      group: 'configuration',
      name: `place for ${config.adminSocket}`,
      neededBy: role,
      remedy: `mkdir -p ${parentOf(config.adminSocket)}`,
      look: (f) => (f.exists(parentOf(config.adminSocket)) ? parentOf(config.adminSocket) : undefined),
    },
  ];
}

function interfaceCheck(config: DaemonConfig): Check {
  return {
    group: 'network',
    name: `interface ${config.interfaceName}`,
    neededBy: role,
    remedy: 'name an interface that `ip link` shows, and set it up: ip link set DEV up',
    look: (f) => {
      const state = f.readText(`/sys/class/net/${config.interfaceName}/operstate`)?.trim();
      return state === 'down' ? undefined : state;
    },
    lack: 'not there or down',
  };
}

function vipCheck(config: DaemonConfig, vip: string): Check {
  const prefix = vip.includes(':') ? 128 : 32;
  return {
    group: 'network',
    name: `VIP ${vip} on ${config.interfaceName}`,
    neededBy: role,
    remedy: `ip address add ${vip}/${prefix} dev ${config.interfaceName}; the access point must answer for it`,
    look: (f) => (holdersOf(f, vip).includes(config.interfaceName) ? 'owned' : undefined),
    lack: 'not an address of the interface',
  };
}

function controlAddressCheck(config: DaemonConfig): Check {
  const { address } = config.control.listen;
  return {
    group: 'network',
    name: `control address ${address}`,
    neededBy: role,
    remedy: 'listen on an address of this host',
    look: (f) => (address === '0.0.0.0' || address === '::' ? 'any' : holdersOf(f, address)[0]),
    lack: 'not an address of this host',
  };
}

function neighbourCheck(config: DaemonConfig): Check {
  return {
    group: 'network',
    name: `neighbours on ${config.interfaceName}`,
    neededBy: [],
    usefulFor: role,
    remedy: 'endpoints must be on the same layer-2 network; try: ping an endpoint, then ip neigh',
    look: async (f) => {
      const program = f.findProgram('ip');
      const text = program && (await f.run(program, ['-json', 'neigh', 'show', 'dev', config.interfaceName]));
      const known = parseJsonArray<{ lladdr?: string }>(text).filter((n) => n.lladdr !== undefined);
      return known.length > 0 ? `${known.length} known` : undefined;
    },
    lack: 'none known yet',
  };
}

function tlsChecks(config: DaemonConfig, clock: Clock): Check[] {
  const { certFile, keyFile, caFile } = config.control.tls;
  const files = [certFile, keyFile, caFile].map(
    (file): Check => ({
      group: 'certificates',
      name: file,
      neededBy: role,
      remedy:
        'restitch pki init and restitch pki issue make development files; check the path and its permissions',
      look: (f) => (f.readText(file) === undefined ? undefined : 'readable'),
      lack: 'cannot be read',
    }),
  );
  const expected = `restitch://${config.cluster}/access-point/${config.name}`;
  const certificate: Check = {
    group: 'certificates',
    name: `certificate of ${config.name}`,
    neededBy: role,
    remedy: `issue one that is valid now and has the URI ${expected}: restitch pki issue access-point ${config.name}`,
    look: (f) => describeCertificate(f.readText(certFile), f.readText(caFile), expected, clock),
    lack: `not valid, not of this authority, or without the URI ${expected}`,
  };
  const lasting: Check = {
    group: 'certificates',
    name: `certificate lasts ${expiryWarningDays} days`,
    neededBy: [],
    usefulFor: role,
    remedy: 'issue a new one in time; the files are read again without a restart',
    look: (f) => {
      const days = daysLeft(readCertificates(f.readText(certFile))[0], clock);
      return days > expiryWarningDays ? `${Math.floor(days)} days left` : undefined;
    },
    lack: 'ends soon',
  };
  return [...files, certificate, lasting];
}

function describeCertificate(
  certText: string | undefined,
  caText: string | undefined,
  expected: string,
  clock: Clock,
): string | undefined {
  const [certificate, ...chain] = readCertificates(certText);
  const authorities = [...chain, ...readCertificates(caText)];
  if (certificate === undefined) return undefined;
  const uris = (certificate.subjectAltName ?? '').split(', ').map((part) => part.replace(/^URI:/, ''));
  const isNamed = parseIdentity(expected) !== undefined && uris.includes(expected);
  const isSigned = authorities.some((a) => certificate.checkIssued(a) && certificate.verify(a.publicKey));
  const isBegun = Date.parse(certificate.validFrom) <= clock.wallMs();
  return isNamed && isSigned && isBegun && daysLeft(certificate, clock) > 0 ? expected : undefined;
}

/** All certificates of a PEM file: a chain, or several authorities while one takes over from another. */
function readCertificates(text: string | undefined): X509Certificate[] {
  const blocks = text?.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch {
    return [];
  }
}

function daysLeft(certificate: X509Certificate | undefined, clock: Clock): number {
  return certificate === undefined ? 0 : (Date.parse(certificate.validTo) - clock.wallMs()) / 86_400_000;
}

/** Interfaces that have an address. */
function holdersOf(facts: HostFacts, address: string): string[] {
  return facts
    .addresses()
    .filter((a) => normalizeAddress(a.address.replace(/%.*/, '')) === address)
    .map((a) => a.interfaceName);
}

function parseJsonArray<T>(text: string | undefined): T[] {
  try {
    const value: unknown = JSON.parse(text ?? '[]');
    return Array.isArray(value) ? (value as T[]) : [];
  } catch {
    return [];
  }
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(1, path.lastIndexOf('/')));
}
