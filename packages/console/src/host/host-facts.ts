/** What a check may look at, handed in so that tests can describe a host that is not there. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { promisify } from 'node:util';
import { toRestitchError } from '@restitch/core';
import type { CapabilityName, FeatureReport } from '@restitch/sys';
import type { BpfDirectoryState } from '@restitch/sys/internal';

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
  /** What the kernel and this process can do; rejects where the kernel cannot be asked at all. */
  features(): Promise<readonly FeatureReport[]>;
  /** Whether pins can be in that directory; rejects where the kernel cannot be asked. */
  bpfDirectory(path: string): Promise<BpfDirectoryState>;
  /** Effective capabilities. */
  capabilities(): Promise<ReadonlySet<CapabilityName>>;
  /** Most open files this process may have. */
  fileLimit(): Promise<number>;
  /** Why this Node cannot move sessions, undefined if it can. */
  nodeFault(): Promise<string | undefined>;
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
    features: async () => {
      const { probeFeatures } = await import('@restitch/sys');
      const { probePrograms: probeSteering } = await import('@restitch/dataplane/internal');
      const { probePrograms: probeGuard } = await import('@restitch/guard/internal');
      return [...probeFeatures(), ...probeSteering(), ...probeGuard()];
    },
    async bpfDirectory(path) {
      const { inspectBpfDirectory } = await import('@restitch/sys/internal');
      return inspectBpfDirectory(path);
    },
    async capabilities() {
      const { effectiveCapabilities } = await import('@restitch/sys');
      return effectiveCapabilities();
    },
    async fileLimit() {
      const { readFileLimit } = await import('@restitch/sys');
      return readFileLimit().hard;
    },
    nodeFault: findNodeFault,
    async run(program, args) {
      try {
        return (await execute(program, [...args], { timeout: runTimeoutMs })).stdout;
      } catch {
        return undefined;
      }
    },
  };
}

/** Tries the private handles on a listening server, as an endpoint does at its start. */
async function findNodeFault(): Promise<string | undefined> {
  const { assertNodeSupported } = await import('@restitch/endpoint/internal');
  const server = createServer().listen(0, '127.0.0.1');
  try {
    await once(server, 'listening');
    assertNodeSupported(server);
    return undefined;
  } catch (error) {
    return toRestitchError(error).message;
  } finally {
    server.close();
  }
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
