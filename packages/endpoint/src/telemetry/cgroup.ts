/**
 * The cgroup of this process, version 1 and 2: CPU against its quota, memory against its limit.
 *
 * A limit may stand on any ancestor (a pod's, a slice's), and the tightest one is the one that hurts; so every level with a
 * limit is measured against its own, and the highest ratio counts.
 */
import { availableParallelism } from 'node:os';
import { growth, ratioOf, readNumber, readText, valueOf } from './proc-files.js';

/** Where the files are; a test puts its own tree below another root. */
export interface CgroupPlaces {
  /** Directories from the own group up to the root of the mount, own first. Empty: no such controller here. */
  readonly cpu: readonly string[];
  readonly cpuUsage: readonly string[];
  readonly memory: readonly string[];
  /** Directory of the version 2 group, for PSI. */
  readonly unified: string | undefined;
}

/** CPU and memory of one period; what could not be read is absent. */
export interface CgroupFigures {
  readonly cpuRatio?: number;
  readonly cpuLimitCores?: number;
  readonly memoryRatio?: number;
}

/** Version 1 says "no limit" as the largest page-aligned number; no host has 2^60 bytes. */
const noMemoryLimitBytes = 2 ** 60;

/** Finds the groups of this process in the mounts it sees. */
export function findCgroup(root = ''): CgroupPlaces {
  const own = readText(`${root}/proc/self/cgroup`) ?? '';
  const mounts = parseMounts(readText(`${root}/proc/self/mountinfo`) ?? '');
  const pathOf = (controller: string): string | undefined =>
    own
      .split('\n')
      .map((line) => /^\d+:([^:]*):(.*)$/.exec(line))
      .find((m) => (controller === '' ? m?.[1] === '' : m?.[1]?.split(',').includes(controller)))?.[2];
  const levels = (controller: string): string[] => {
    const v1 = mounts.find((m) => m.controllers.includes(controller));
    const mount = v1 ?? mounts.find((m) => m.isUnified);
    const path = pathOf(v1 === undefined ? '' : controller);
    return mount === undefined || path === undefined ? [] : levelsOf(root + mount.point, mount.root, path);
  };
  const unified = mounts.find((m) => m.isUnified);
  const unifiedPath = pathOf('');
  return {
    cpu: levels('cpu'),
    cpuUsage: levels('cpuacct'),
    memory: levels('memory'),
    unified:
      unified === undefined || unifiedPath === undefined
        ? undefined
        : levelsOf(root + unified.point, unified.root, unifiedPath)[0],
  };
}

interface Mount {
  readonly root: string;
  readonly point: string;
  readonly isUnified: boolean;
  readonly controllers: readonly string[];
}

/** proc(5): `… root point options … - type source superoptions`. */
function parseMounts(text: string): Mount[] {
  return text.split('\n').flatMap((line) => {
    const [left = '', right] = line.split(' - ');
    const [, , , root, point] = left.split(' ');
    const [type, , options = ''] = right?.split(' ') ?? [];
    if (root === undefined || point === undefined || (type !== 'cgroup' && type !== 'cgroup2')) return [];
    return [
      {
        root,
        point,
        isUnified: type === 'cgroup2',
        controllers: type === 'cgroup' ? options.split(',') : [],
      },
    ];
  });
}

/** In a container the mount's root is the container's group, and the path may be the host's or the container's own. */
function levelsOf(point: string, mountRoot: string, path: string): string[] {
  const isBelow = mountRoot !== '/' && (path === mountRoot || path.startsWith(`${mountRoot}/`));
  let rest = isBelow ? path.slice(mountRoot.length) : path;
  if (rest.startsWith('/..')) rest = '';
  const parts = rest.split('/').filter((part) => part !== '');
  const levels: string[] = [];
  for (let n = parts.length; n >= 0; n--) levels.push([point, ...parts.slice(0, n)].join('/'));
  return levels;
}

interface CpuLevel {
  readonly usageUs: number;
  readonly limitCores: number;
}

/** Reads the groups; keeps the counters of the time before. */
export class CgroupSampler {
  readonly #places: CgroupPlaces;
  readonly #ownCpuUs: () => number;
  #before = new Map<string, CpuLevel>();
  #beforeMs = Number.NaN;

  constructor(places: CgroupPlaces, ownCpuUs: () => number = processCpuUs) {
    this.#places = places;
    this.#ownCpuUs = ownCpuUs;
  }

  /** `nowMs` monotonic. The first sample has no CPU figure. */
  sample(nowMs: number): CgroupFigures {
    const elapsedUs = (nowMs - this.#beforeMs) * 1000;
    this.#beforeMs = nowMs;
    const memoryRatio = this.#memory();
    return {
      ...this.#cpu(elapsedUs > 0 ? elapsedUs : undefined),
      ...(memoryRatio === undefined ? {} : { memoryRatio }),
    };
  }

  #cpu(elapsedUs: number | undefined): CgroupFigures {
    const before = this.#before;
    this.#before = new Map();
    let figures: CgroupFigures = {};
    let tightestCores = Number.POSITIVE_INFINITY;
    let hasChanged = false;
    this.#places.cpu.forEach((directory, level) => {
      const quotaCores = readQuotaCores(directory);
      if (quotaCores === undefined && level > 0) return;
      const usageUs = this.#usageUs(directory, level);
      if (usageUs === undefined) return;
      const limitCores = quotaCores ?? availableParallelism();
      const last = before.get(directory);
      this.#before.set(directory, { usageUs, limitCores });
      tightestCores = Math.min(tightestCores, limitCores);
      if (before.size > 0 && last?.limitCores !== limitCores) hasChanged = true;
      const usedUs = growth(usageUs, last?.usageUs);
      const cpuRatio = ratioOf(usedUs, elapsedUs === undefined ? undefined : elapsedUs * limitCores);
      const isTighter = (cpuRatio ?? -1) > (figures.cpuRatio ?? -1) || figures.cpuLimitCores === undefined;
      if (isTighter) figures = { cpuLimitCores: limitCores, ...(cpuRatio === undefined ? {} : { cpuRatio }) };
    });
    // What was used under another quota is no share of this one: a quota cut to a tenth would look like an overload.
    if (hasChanged) return { cpuLimitCores: tightestCores };
    return figures;
  }

  /**
   * Version 1 may count (cpuacct) in another group than it limits (cpu). Then only this process is known to be inside the
   * limit, and its own time is a lower bound.
   */
  #usageUs(directory: string, level: number): number | undefined {
    const inStat = valueOf(readText(`${directory}/cpu.stat`), 'usage_usec');
    if (inStat !== undefined) return inStat;
    const { cpu, cpuUsage } = this.#places;
    const isSameGroup = groupName(cpu) === groupName(cpuUsage);
    const counter = isSameGroup ? cpuUsage[level] : undefined;
    const usageNs = counter === undefined ? undefined : readNumber(`${counter}/cpuacct.usage`);
    if (usageNs !== undefined) return usageNs / 1000;
    return level === 0 ? this.#ownCpuUs() : undefined;
  }

  #memory(): number | undefined {
    let highest: number | undefined;
    for (const directory of this.#places.memory) {
      const ratio = memoryRatioOf(directory);
      if (ratio !== undefined) highest = Math.max(highest ?? 0, ratio);
    }
    return highest;
  }
}

/** Path of a group below its mount: the mount's own part is what all its levels share, the shortest one. */
function groupName(levels: readonly string[]): string | undefined {
  const own = levels[0];
  const top = levels.at(-1);
  return own === undefined || top === undefined ? undefined : own.slice(top.length);
}

function readQuotaCores(directory: string): number | undefined {
  const v2 = readText(`${directory}/cpu.max`);
  if (v2 !== undefined) {
    const [quota, period] = v2.trim().split(' ').map(Number);
    return ratioOf(quota, period);
  }
  const quota = readNumber(`${directory}/cpu.cfs_quota_us`);
  return ratioOf(quota, readNumber(`${directory}/cpu.cfs_period_us`));
}

/** Page cache that the kernel would drop first is not in the way of anybody. */
function memoryRatioOf(directory: string): number | undefined {
  const isV2 = readNumber(`${directory}/memory.current`);
  const used = isV2 ?? readNumber(`${directory}/memory.usage_in_bytes`);
  const limit = readNumber(`${directory}/${isV2 === undefined ? 'memory.limit_in_bytes' : 'memory.max'}`);
  if (used === undefined || limit === undefined || limit >= noMemoryLimitBytes) return undefined;
  const stat = readText(`${directory}/memory.stat`);
  const cache = valueOf(stat, isV2 === undefined ? 'total_inactive_file' : 'inactive_file') ?? 0;
  return ratioOf(Math.max(0, used - cache), limit);
}

function processCpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}
