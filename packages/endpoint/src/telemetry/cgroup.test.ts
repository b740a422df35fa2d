import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { type CgroupPlaces, CgroupSampler, findCgroup } from './cgroup.js';

const cleanups: Array<() => void | Promise<void>> = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A host in a directory: `files` by absolute path. */
function fakeHost(files: Record<string, string>): { root: string; set(path: string, text: string): void } {
  const root = mkdtempSync(join(tmpdir(), 'restitch-cgroup-'));
  cleanups.push(() => rmSync(root, { recursive: true }));
  const set = (path: string, text: string): void => {
    mkdirSync(dirname(root + path), { recursive: true });
    writeFileSync(root + path, text);
  };
  for (const [path, text] of Object.entries(files)) set(path, text);
  return { root, set };
}

const v2Host = {
  '/proc/self/cgroup': '0::/pod/app\n',
  '/proc/self/mountinfo': '30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n',
  '/sys/fs/cgroup/pod/app/cpu.stat': 'usage_usec 1000000\nuser_usec 1\n',
  '/sys/fs/cgroup/pod/app/cpu.max': 'max 100000\n',
  '/sys/fs/cgroup/pod/cpu.stat': 'usage_usec 5000000\n',
  '/sys/fs/cgroup/pod/cpu.max': '50000 100000\n',
  '/sys/fs/cgroup/pod/app/memory.current': '3000\n',
  '/sys/fs/cgroup/pod/app/memory.stat': 'anon 1000\ninactive_file 1000\n',
  '/sys/fs/cgroup/pod/app/memory.max': '4000\n',
  '/sys/fs/cgroup/pod/memory.current': '3000\n',
  '/sys/fs/cgroup/pod/memory.max': 'max\n',
};

describe('a version 2 group', () => {
  it('is measured against the tightest limit above it, without droppable cache', () => {
    const host = fakeHost(v2Host);
    const sampler = new CgroupSampler(findCgroup(host.root));
    expect(sampler.sample(0).cpuRatio).toBeUndefined();
    host.set('/sys/fs/cgroup/pod/app/cpu.stat', 'usage_usec 1100000\n');
    host.set('/sys/fs/cgroup/pod/cpu.stat', 'usage_usec 5450000\n');
    expect(sampler.sample(1000)).toEqual({ cpuRatio: 0.9, cpuLimitCores: 0.5, memoryRatio: 0.5 });
  });

  it('says nothing of the period in which the quota changed', () => {
    const host = fakeHost(v2Host);
    const sampler = new CgroupSampler(findCgroup(host.root));
    sampler.sample(0);
    host.set('/sys/fs/cgroup/pod/cpu.stat', 'usage_usec 5450000\n');
    host.set('/sys/fs/cgroup/pod/cpu.max', '5000 100000\n');
    expect(sampler.sample(1000)).toEqual({ cpuLimitCores: 0.05, memoryRatio: 0.5 });
    host.set('/sys/fs/cgroup/pod/cpu.stat', 'usage_usec 5475000\n');
    expect(sampler.sample(2000)).toEqual({ cpuRatio: 0.5, cpuLimitCores: 0.05, memoryRatio: 0.5 });
  });

  it('is found in a container that sees only its own part of the tree', () => {
    const host = fakeHost({
      '/proc/self/cgroup': '0::/docker/x/app\n',
      '/proc/self/mountinfo': '30 23 0:26 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n',
    });
    expect(findCgroup(host.root).cpu).toEqual([
      `${host.root}/sys/fs/cgroup/app`,
      `${host.root}/sys/fs/cgroup`,
    ]);
  });

  it.each([
    ['a counter that went back', 1000, 'usage_usec 1\n'],
    ['a clock that stands', 0, 'usage_usec 2000000\n'],
    ['a clock that went back', -5, 'usage_usec 2000000\n'],
    ['a file that is gone', 1000, ''],
  ])('has no CPU figure after %s, and one again later', (_, nowMs, text) => {
    const host = fakeHost({ ...v2Host, '/sys/fs/cgroup/pod/cpu.max': 'max 100000\n' });
    const sampler = new CgroupSampler(findCgroup(host.root), () => 0);
    const path = '/sys/fs/cgroup/pod/app/cpu.stat';
    host.set('/sys/fs/cgroup/pod/app/cpu.max', '100000 100000\n');
    sampler.sample(0);
    host.set(path, text);
    expect(sampler.sample(nowMs).cpuRatio).toBeUndefined();
    host.set(path, 'usage_usec 3000000\n');
    sampler.sample(nowMs + 1000);
    host.set(path, 'usage_usec 3250000\n');
    expect(sampler.sample(nowMs + 2000).cpuRatio).toBe(0.25);
  });
});

/** A group of the running kernel in every controller given, and a process that is born into it. */
async function realGroup(files: Record<string, string>, script: string): Promise<CgroupPlaces> {
  const isV2 = existsSync('/sys/fs/cgroup/cgroup.controllers');
  const name = `rs${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
  const directories = isV2
    ? [`/sys/fs/cgroup/${name}`]
    : ['cpu', 'cpuacct', 'memory'].map((c) => `/sys/fs/cgroup/${c}/${name}`);
  for (const directory of directories) mkdirSync(directory, { recursive: true });
  cleanups.push(() => directories.forEach((d) => rmdirSync(d)));
  for (const [file, value] of Object.entries(files)) {
    const directory = directories.find((d) => existsSync(`${d}/${file}`));
    if (directory !== undefined) writeFileSync(`${directory}/${file}`, value);
  }
  const enter = directories.map((d) => `echo $$ > ${d}/cgroup.procs`).join('; ');
  const child = spawn('sh', ['-c', `${enter}; exec timeout 20 ${process.execPath} -e '${script}'`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  cleanups.push(async () => {
    for (const pid of pidsOf(directories)) process.kill(pid, 'SIGKILL');
    child.kill('SIGKILL');
    while (pidsOf(directories).length > 0) await sleep(10);
  });
  await once(child.stdout, 'data');
  const levels = (c: string): string[] => {
    const own = directories.find((d) => d.includes(`/${c}/`)) ?? directories[0] ?? '';
    return [own, dirname(own)];
  };
  return { cpu: levels('cpu'), cpuUsage: levels('cpuacct'), memory: levels('memory'), unified: undefined };
}

/** User and system time of a group's processes, from /proc/PID/stat (ticks of 10 ms). */
function cpuMsOf(levels: readonly string[]): number {
  return pidsOf(levels.slice(0, 1))
    .map((pid) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [])
    .reduce((sum, columns) => sum + 10 * (Number(columns[11]) + Number(columns[12])), 0);
}

function pidsOf(directories: readonly string[]): number[] {
  const lines = directories.flatMap((d) => readFileSync(`${d}/cgroup.procs`, 'utf8').split('\n'));
  return [...new Set(lines.filter((line) => line !== '').map(Number))];
}

describe.runIf(process.getuid?.() === 0)('a group of the running kernel', () => {
  it('that burns against a quota of a quarter CPU says what its process used of it', async () => {
    const places = await realGroup(
      { 'cpu.cfs_period_us': '10000', 'cpu.cfs_quota_us': '2500', 'cpu.max': '2500 10000' },
      'console.log(1); for (;;);',
    );
    const sampler = new CgroupSampler(places);
    const start = performance.now();
    const before = cpuMsOf(places.cpu);
    sampler.sample(0);
    await sleep(1500);
    const elapsedMs = performance.now() - start;
    const usedMs = cpuMsOf(places.cpu) - before;
    const { cpuRatio, cpuLimitCores } = sampler.sample(elapsedMs);
    expect(cpuLimitCores).toBe(0.25);
    expect(usedMs).toBeGreaterThan(20);
    // The process is counted in ticks of 10 ms.
    expect(Math.abs((cpuRatio ?? 0) - usedMs / (elapsedMs * 0.25))).toBeLessThan(0.15);
  });

  it('that holds 40 MiB of 128 is a third full and more', async () => {
    const bytes = String(128 * 1024 * 1024);
    const places = await realGroup(
      { 'memory.limit_in_bytes': bytes, 'memory.max': bytes },
      'globalThis.b = Buffer.alloc(40 * 1024 * 1024, 1); console.log(1); setInterval(() => {}, 1e6);',
    );
    const { memoryRatio } = new CgroupSampler(places).sample(0);
    expect(memoryRatio).toBeGreaterThan(0.3);
    expect(memoryRatio).toBeLessThanOrEqual(1);
  });

  it('of this process itself is found, with a CPU figure in the second sample', async () => {
    const sampler = new CgroupSampler(findCgroup());
    sampler.sample(0);
    const until = performance.now() + 50;
    while (performance.now() < until);
    expect(sampler.sample(50).cpuRatio).toBeGreaterThan(0);
  });
});
