/** One cgroup for each endpoint, so that it can really be overloaded: version 1 controllers or the version 2 tree. */
import { existsSync, mkdirSync, readFileSync, realpathSync, rmdirSync, writeFileSync } from 'node:fs';
import { RestitchError } from '@restitch/core';

const root = '/sys/fs/cgroup';

/** Limits of one endpoint; absent means unlimited. */
export interface CgroupLimits {
  /** Share of one CPU, 1 is a whole one. */
  readonly cpuShare?: number;
  /** In which the share is given out; longer ones forgive neighbours, shorter ones pause the endpoint for less. Default 10 ms. */
  readonly cpuPeriodMs?: number;
  readonly memoryBytes?: number;
}

/** Directories of the cgroup `name`, in the trees this host has. */
export function cgroupDirectories(name: string): string[] {
  if (existsSync(`${root}/cgroup.controllers`)) return [`${root}/${name}`];
  // cpuacct may be mounted apart from cpu, and it alone counts what a group uses.
  const mounted = ['cpu', 'cpuacct', 'memory'].filter((c) => existsSync(`${root}/${c}`));
  return [...new Set(mounted.map((c) => `${realpathSync(`${root}/${c}`)}/${name}`))];
}

/** Makes the cgroup and returns its directories. */
export function createCgroup(name: string, limits: CgroupLimits = {}): string[] {
  const directories = cgroupDirectories(name);
  for (const directory of directories) mkdirSync(directory, { recursive: true });
  setCgroupLimits(name, limits);
  return directories;
}

/** Changes the limits of a running endpoint. With a quota goes the highest weight: the quota and not the neighbours is the limit. */
export function setCgroupLimits(name: string, limits: CgroupLimits): void {
  const periodUs = (limits.cpuPeriodMs ?? 10) * 1000;
  for (const directory of cgroupDirectories(name)) {
    const isV2 = existsSync(`${directory}/cgroup.controllers`);
    const quotaUs =
      limits.cpuShare === undefined ? -1 : Math.max(1000, Math.round(limits.cpuShare * periodUs));
    if (isV2) {
      writeIfPresent(`${directory}/cpu.max`, `${quotaUs < 0 ? 'max' : quotaUs} ${periodUs}`);
      if (limits.cpuShare !== undefined) writeIfPresent(`${directory}/cpu.weight`, '10000');
      writeIfPresent(`${directory}/memory.max`, String(limits.memoryBytes ?? 'max'));
      continue;
    }
    writeIfPresent(`${directory}/cpu.cfs_period_us`, String(periodUs));
    writeIfPresent(`${directory}/cpu.cfs_quota_us`, String(quotaUs));
    if (limits.cpuShare !== undefined) writeIfPresent(`${directory}/cpu.shares`, '262144');
    writeIfPresent(`${directory}/memory.limit_in_bytes`, String(limits.memoryBytes ?? -1));
  }
}

/** Puts a process, with all its threads, into the cgroup. */
export function enterCgroup(directories: readonly string[], pid: number): void {
  for (const directory of directories) {
    try {
      writeFileSync(`${directory}/cgroup.procs`, String(pid));
    } catch (error) {
      throw new RestitchError('syscall_failed', `cgroup ${directory}: cannot take process ${pid}`, {
        cause: error,
      });
    }
  }
}

/** Removes cgroup directories whose processes have ended; false if one is still in use. */
export function removeCgroups(directories: readonly string[]): boolean {
  let isGone = true;
  for (const directory of directories) {
    if (!existsSync(directory)) continue;
    try {
      rmdirSync(directory);
    } catch {
      isGone = false;
    }
  }
  return isGone;
}

/** CPU time a cgroup has used, in microseconds: cpuacct.usage (version 1) or usage_usec of cpu.stat. Throws `unsupported_host`. */
export function readCgroupCpuUs(directories: readonly string[]): number {
  for (const directory of directories) {
    const nanoseconds = `${directory}/cpuacct.usage`;
    if (existsSync(nanoseconds)) return Number(readFileSync(nanoseconds, 'utf8')) / 1000;
    const stat = existsSync(`${directory}/cpu.stat`) ? readFileSync(`${directory}/cpu.stat`, 'utf8') : '';
    const usageUs = /^usage_usec (\d+)$/m.exec(stat)?.[1];
    if (usageUs !== undefined) return Number(usageUs);
  }
  throw new RestitchError('unsupported_host', `cgroup ${directories.join(', ')}: no count of CPU time`);
}

/** Memory of a cgroup in bytes, 0 where it cannot be read. */
export function readCgroupMemoryBytes(directories: readonly string[]): number {
  for (const directory of directories) {
    for (const file of ['memory.current', 'memory.usage_in_bytes']) {
      const path = `${directory}/${file}`;
      if (existsSync(path)) return Number(readFileSync(path, 'utf8'));
    }
  }
  return 0;
}

function writeIfPresent(path: string, value: string): void {
  if (existsSync(path)) writeFileSync(path, value);
}
