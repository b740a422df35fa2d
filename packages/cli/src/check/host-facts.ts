/** What a check may look at, handed in so that tests can describe a host that is not there. */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { promisify } from 'node:util';

/** Reads of the host; nothing here changes it. */
export interface HostFacts {
  readonly platform: string;
  readonly kernelRelease: string;
  readonly nodeVersion: string;
  /** Text of a file, undefined if it cannot be read. */
  readText(path: string): string | undefined;
  exists(path: string): boolean;
  /** Addresses of interfaces that are up. */
  addresses(): ReadonlyArray<{ readonly interfaceName: string; readonly address: string }>;
  /** First of `PATH` (and the sbin directories) that has the program. */
  findProgram(name: string): string | undefined;
  /** A shared library in one of the usual directories, /usr/lib/<triplet> among them. */
  findLibrary(name: string): string | undefined;
  /** Standard output of a program, undefined if it fails. */
  run(program: string, args: readonly string[]): Promise<string | undefined>;
}

const execute = promisify(execFile);
const runTimeoutMs = 5000;

/** The host this process runs on. */
export function createHostFacts(release: string): HostFacts {
  const readText = (path: string): string | undefined => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return undefined;
    }
  };
  return {
    platform: process.platform,
    kernelRelease: release,
    nodeVersion: process.versions.node,
    readText,
    exists: existsSync,
    addresses: () =>
      Object.entries(networkInterfaces()).flatMap(([interfaceName, all]) =>
        (all ?? []).map(({ address }) => ({ interfaceName, address })),
      ),
    findProgram(name) {
      const path = `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin`;
      return path
        .split(':')
        .filter((directory) => directory !== '')
        .map((directory) => `${directory}/${name}`)
        .find((file) => existsSync(file));
    },
    findLibrary: (name) =>
      libraryDirectories()
        .map((d) => `${d}/${name}`)
        .find((file) => existsSync(file)),
    async run(program, args) {
      try {
        return (await execute(program, [...args], { timeout: runTimeoutMs })).stdout;
      } catch {
        return undefined;
      }
    },
  };
}

function libraryDirectories(): string[] {
  const fixed = ['/usr/lib', '/usr/lib64', '/lib', '/lib64', '/usr/local/lib'];
  try {
    const triplets = readdirSync('/usr/lib').filter((entry) => entry.includes('-linux-'));
    return [...fixed, ...triplets.map((t) => `/usr/lib/${t}`)];
  } catch {
    return fixed;
  }
}

/** Bit numbers of linux/capability.h that restitch asks for. */
export const capabilityBits = {
  CAP_NET_ADMIN: 12,
  CAP_NET_RAW: 13,
  CAP_SYS_ADMIN: 21,
  CAP_PERFMON: 38,
  CAP_BPF: 39,
} as const;

/** Name of a capability that is looked for. */
export type CapabilityName = keyof typeof capabilityBits;

/** The effective capabilities of a process, from its `CapEff` line in /proc/<pid>/status. */
export function parseCapabilities(status: string): ReadonlySet<CapabilityName> {
  const mask = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  const names = Object.keys(capabilityBits) as CapabilityName[];
  return new Set(names.filter((name) => (mask >> BigInt(capabilityBits[name])) & 1n));
}
