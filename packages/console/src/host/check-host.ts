/** What a host must have for a role, as a list of small checks; each says what it found and what would help. */
import { isKernelAtLeast, oldestKernel } from '@restitch/sys';
import type { FeatureNeed, FeatureReport } from '@restitch/sys';
import type { HostFacts } from './host-facts.js';

/** What a host is to be. `lab` is all parties on one machine, as the demo and the tests need it. */
export type HostRole = 'access-point' | 'endpoint' | 'lab';

/** The roles, for messages and completions. */
export const hostRoles: readonly HostRole[] = ['access-point', 'endpoint', 'lab'];

/** `missing` is needed and not there; `absent` would be good to have. */
type CheckStatus = 'ok' | 'missing' | 'absent';

/** One line of the list. */
export interface CheckResult {
  readonly group: string;
  readonly name: string;
  readonly status: CheckStatus;
  readonly found: string;
  /** What to do; '' when nothing is. */
  readonly remedy: string;
}

/** One thing that is looked for. */
export interface Check {
  readonly group: string;
  readonly name: string;
  readonly neededBy: readonly HostRole[];
  /** Roles for which it is good to have. */
  readonly usefulFor?: readonly HostRole[];
  readonly remedy: string;
  /** What was found, or undefined when it is not there. */
  readonly look: (facts: HostFacts) => string | undefined | Promise<string | undefined>;
  /** What to print when it is not there. */
  readonly lack?: string;
}

const everyRole = hostRoles;
/** The usual hard limit on Debian is 1,048,576; a host that gives a process less than this was told to. */
const comfortableFileLimit = 10_000;
const steering: readonly HostRole[] = ['access-point', 'lab'];

/** Runs the checks a role is concerned with, in order. */
export async function runChecks(
  checks: readonly Check[],
  role: HostRole,
  facts: HostFacts,
): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const check of checks) {
    const isNeeded = check.neededBy.includes(role);
    if (!isNeeded && check.usefulFor?.includes(role) !== true) continue;
    const found = await check.look(facts);
    const { group, name } = check;
    if (found !== undefined) results.push({ group, name, status: 'ok', found, remedy: '' });
    else {
      const status = isNeeded ? 'missing' : 'absent';
      results.push({ group, name, status, found: check.lack ?? 'not there', remedy: check.remedy });
    }
  }
  return results;
}

/** What the kernel was asked by trying, as results; the kernel that cannot be asked is one result, too. */
export async function checkFeatures(role: HostRole, facts: HostFacts): Promise<CheckResult[]> {
  let features: readonly FeatureReport[];
  try {
    features = await facts.features();
  } catch (error) {
    const found = error instanceof Error ? error.message : String(error);
    const remedy = 'run `npm run setup`; restitch needs Linux on x86-64 or arm64 with glibc';
    return [{ group: 'kernel', name: 'system calls', status: 'missing', found, remedy }];
  }
  const { needed, useful } = wantsOf[role];
  return features.flatMap((feature): CheckResult[] => {
    const isNeeded = feature.needs.some((need) => needed.includes(need));
    if (!isNeeded && !feature.needs.some((need) => useful.includes(need))) return [];
    const status = feature.isPresent ? 'ok' : isNeeded ? 'missing' : 'absent';
    const { name, found, remedy } = feature;
    return [{ group: 'features', name, status, found, remedy }];
  });
}

/** An endpoint without protection (crash.md) runs without an agent on its host. */
const wantsOf: Readonly<
  Record<HostRole, { readonly needed: readonly FeatureNeed[]; readonly useful: readonly FeatureNeed[] }>
> = {
  'access-point': { needed: ['access-point'], useful: ['optional'] },
  endpoint: { needed: ['endpoint'], useful: ['agent', 'optional'] },
  lab: { needed: ['endpoint', 'agent', 'access-point'], useful: ['optional'] },
};

/** Everything that does not depend on a configuration and is seen without trying it. */
export const hostChecks: readonly Check[] = [
  {
    group: 'system',
    name: 'Linux',
    neededBy: everyRole,
    remedy: 'run restitch on Linux',
    look: (f) => (f.platform === 'linux' ? f.kernelRelease : undefined),
  },
  {
    group: 'system',
    name: `kernel ${oldestKernel} or newer`,
    neededBy: steering,
    usefulFor: ['endpoint'],
    remedy: 'update the kernel (Debian 12 has 6.1); older ones were not tried',
    look: (f) => (isKernelAtLeast(f.kernelRelease, oldestKernel) ? f.kernelRelease : undefined),
    lack: 'older',
  },
  {
    group: 'system',
    name: 'Node.js 20 to 26',
    neededBy: everyRole,
    remedy: 'install Node.js 20 to 26',
    look: (f) => {
      const major = Number(f.nodeVersion.split('.')[0]);
      return major >= 20 && major <= 26 ? f.nodeVersion : undefined;
    },
  },
  {
    group: 'system',
    name: 'Node.js shows the handles of its sockets',
    neededBy: ['endpoint', 'lab'],
    remedy: 'run an unmodified Node.js 20 to 26',
    look: async (f) => ((await f.nodeFault()) === undefined ? 'yes' : undefined),
    lack: 'no',
  },
  {
    group: 'system',
    name: 'room for open files',
    neededBy: [],
    usefulFor: everyRole,
    remedy: 'raise the hard limit (systemd: LimitNOFILE=65536); a session takes one',
    look: async (f) => {
      const limit = await f.fileLimit().catch(() => 0);
      return limit >= comfortableFileLimit ? String(limit) : undefined;
    },
    lack: `under ${comfortableFileLimit}`,
  },
  {
    group: 'privileges',
    name: 'CAP_SYS_ADMIN',
    neededBy: ['lab'],
    remedy: 'run as root: the laboratory makes network namespaces',
    look: async (f) => {
      const held = await f.capabilities().catch(() => undefined);
      return held?.has('CAP_SYS_ADMIN') === true ? 'effective' : undefined;
    },
  },
  {
    group: 'kernel',
    name: 'BPF JIT',
    neededBy: [],
    usefulFor: steering,
    remedy: 'sysctl net.core.bpf_jit_enable=1; without it packets are interpreted',
    look: (f) => (Number(f.readText('/proc/sys/net/core/bpf_jit_enable') ?? '0') > 0 ? 'on' : undefined),
  },
  {
    group: 'kernel',
    name: 'connection tracking lets moved sessions pass',
    neededBy: [],
    usefulFor: ['access-point', 'endpoint'],
    remedy: 'sysctl net.netfilter.nf_conntrack_tcp_be_liberal=1, or notrack for the VIP (docs/operations.md)',
    look: (f) => {
      const liberal = f.readText('/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal');
      if (liberal === undefined) return 'no tracking';
      return liberal.trim() === '1' ? 'liberal' : undefined;
    },
    lack: 'strict',
  },
  program('clang', 'clang', [], ['lab']),
  program('bpftool', 'bpftool', [], steering),
  program('ip', 'iproute2', ['lab'], ['access-point', 'endpoint']),
  program('nft', 'nftables', ['lab']),
  program('nsenter', 'util-linux', ['lab']),
  program('curl', 'curl', [], ['lab']),
  {
    group: 'packages',
    name: 'libbpf.so.1',
    neededBy: steering,
    remedy: 'apt-get install libbpf1',
    look: (f) => f.findLibrary('libbpf.so.1'),
  },
  {
    group: 'packages',
    name: 'libbpf headers',
    neededBy: [],
    usefulFor: ['lab'],
    remedy: 'apt-get install libbpf-dev; needed to build the BPF programs only',
    look: (f) => present(f, '/usr/include/bpf/bpf_helpers.h'),
  },
];

function program(
  name: string,
  debianPackage: string,
  neededBy: readonly HostRole[],
  usefulFor: readonly HostRole[] = [],
): Check {
  const remedy = `apt-get install ${debianPackage}`;
  return { group: 'packages', name, neededBy, usefulFor, remedy, look: (f) => f.findProgram(name) };
}

function present(facts: HostFacts, path: string): string | undefined {
  return facts.exists(path) ? path : undefined;
}
