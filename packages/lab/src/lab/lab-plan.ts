/**
 * Names and addresses of one laboratory, computed from its id alone: what is made can always be found and removed again.
 *
 * Addresses are the same in every laboratory, because each has its own namespaces; names carry the id, because the host
 * sees them all.
 */
import { RestitchError } from '@restitch/core';

/** Party names: `client`, `access-point`, and endpoints `a`, `b`, … `z`. */
type PartyName = string;

/** Where a party stands: its network namespace and its addresses on the laboratory's network. */
export interface PartyPlan {
  readonly name: PartyName;
  readonly role: 'client' | 'access-point' | 'endpoint';
  readonly namespace: string;
  readonly ipv4: string;
  readonly ipv6: string;
  /** The party's port at the fabric's bridge, at most 15 bytes. */
  readonly bridgePort: string;
}

/** All names of one laboratory. */
export interface LabPlan {
  readonly id: string;
  readonly fabricNamespace: string;
  readonly vipIpv4: string;
  readonly vipIpv6: string;
  /** Directory of state, logs, certificates and sockets of this laboratory. */
  readonly directory: string;
  readonly stateFile: string;
  /** Where the laboratory's own BPF file system is mounted: the host's may be missing, covered or shut. */
  readonly bpfDirectory: string;
  /** Directory of pinned maps and programs, below that. */
  readonly pinDirectory: string;
  readonly cgroupPrefix: string;
  readonly client: PartyPlan;
  readonly accessPoint: PartyPlan;
}

/** Directory of the state files of all laboratories on this host. */
export const labRoot = '/run/restitch/lab';

/** Ports of the default applications: echo answers what it gets, files serves downloads and hashes uploads. */
export const labPorts = { echo: 7000, files: 8080 } as const;

/** A listener of every endpoint of a laboratory, on both VIPs. */
export interface LabListener {
  /** Also the name of the listener; that of the second VIP ends with 6. */
  readonly name: string;
  readonly application: 'asking' | 'burn' | 'echo' | 'files' | 'sink' | 'tail' | 'ticks';
  readonly port: number;
  readonly level: 'none' | 'periodic' | 'commit';
  /** Share of new sessions by endpoint name; all alike if left out. */
  readonly weights?: Readonly<Record<string, number>>;
}

/**
 * Ports that only protected laboratories have: the default applications at level none, so that both levels meet the
 * same faults and are measured side by side, one that swallows what it gets,
 * for uploads, one that sends without being asked, and one that ends connections in every way there is.
 */
export const protectedPorts = {
  echoNone: 7001,
  filesNone: 8081,
  sink: 7002,
  sinkNone: 7003,
  ticks: 7004,
  echoPeriodic: 7005,
  sinkPeriodic: 7006,
  tail: 7007,
  tailNone: 7008,
  tailPeriodic: 7009,
} as const;

/** What endpoints listen on; in a protected laboratory the default applications are at level commit. */
export function labListeners(isProtected: boolean): readonly LabListener[] {
  const level = isProtected ? 'commit' : 'none';
  const ordinary: LabListener[] = [
    { name: 'echo', application: 'echo', port: labPorts.echo, level },
    { name: 'files', application: 'files', port: labPorts.files, level },
  ];
  if (!isProtected) return ordinary;
  return [
    ...ordinary,
    { name: 'echo-none', application: 'echo', port: protectedPorts.echoNone, level: 'none' },
    { name: 'echo-periodic', application: 'echo', port: protectedPorts.echoPeriodic, level: 'periodic' },
    { name: 'files-none', application: 'files', port: protectedPorts.filesNone, level: 'none' },
    { name: 'sink', application: 'sink', port: protectedPorts.sink, level: 'commit' },
    { name: 'sink-none', application: 'sink', port: protectedPorts.sinkNone, level: 'none' },
    { name: 'sink-periodic', application: 'sink', port: protectedPorts.sinkPeriodic, level: 'periodic' },
    { name: 'tail', application: 'tail', port: protectedPorts.tail, level: 'commit' },
    { name: 'tail-none', application: 'tail', port: protectedPorts.tailNone, level: 'none' },
    { name: 'tail-periodic', application: 'tail', port: protectedPorts.tailPeriodic, level: 'periodic' },
    { name: 'ticks', application: 'ticks', port: protectedPorts.ticks, level: 'commit' },
  ];
}

/** Port on which the access point takes control connections. */
export const labControlPort = 7600;

/** Endpoints are single letters, so there are at most this many. */
const maxEndpoints = 26;

const prefixIpv4 = '10.77';
const prefixIpv6 = 'fd77::';

/** Names and addresses of laboratory `id` (1 to 8 lower-case letters or digits). Throws `usage`. */
export function createLabPlan(id: string): LabPlan {
  if (!/^[a-z0-9]{1,8}$/.test(id)) {
    throw new RestitchError(
      'usage',
      `laboratory id ${JSON.stringify(id)}: expected 1 to 8 letters or digits`,
    );
  }
  return {
    id,
    fabricNamespace: `restitch-${id}-fabric`,
    vipIpv4: `${prefixIpv4}.0.100`,
    vipIpv6: `${prefixIpv6}100`,
    directory: `${labRoot}/${id}`,
    stateFile: `${labRoot}/${id}.json`,
    bpfDirectory: `${labRoot}/${id}/bpf`,
    pinDirectory: `${labRoot}/${id}/bpf/pins`,
    cgroupPrefix: `restitch-lab-${id}`,
    client: planParty(id, 'client', 'client', 2),
    accessPoint: planParty(id, 'access-point', 'access-point', 1),
  };
}

/** Endpoint number `index` (0 is `a`). */
export function planEndpoint(plan: LabPlan, index: number): PartyPlan {
  if (index < 0 || index >= maxEndpoints) {
    throw new RestitchError('usage', `endpoint ${index}: a laboratory has at most ${maxEndpoints} endpoints`);
  }
  return planParty(plan.id, String.fromCharCode(97 + index), 'endpoint', 11 + index);
}

/** Further addresses of the client, for more sessions than one address has ports. */
export function planClientAddresses(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${prefixIpv4}.${64 + (i >> 7)}.${1 + (i & 127)}`);
}

function planParty(id: string, name: PartyName, role: PartyPlan['role'], host: number): PartyPlan {
  return {
    name,
    role,
    namespace: `restitch-${id}-${name}`,
    ipv4: `${prefixIpv4}.0.${host}`,
    ipv6: `${prefixIpv6}${host.toString(16)}`,
    bridgePort: `p-${name}`.slice(0, 15),
  };
}
