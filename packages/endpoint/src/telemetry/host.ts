/** The host and the network namespace this process lives in: CPU, disks, memory, pressure, TCP's own counters. */
import { growth, ratioOf, readText, toCount, valueOf } from './proc-files.js';

/** What a sample gives; what could not be read, or has no counterpart of before, is absent. */
export interface HostFigures {
  readonly hostCpuRatio?: number;
  readonly ioWaitRatio?: number;
  readonly ioRatio?: number;
  readonly memoryRatio?: number;
  readonly pressureCpu?: number;
  readonly pressureMemory?: number;
  readonly pressureIo?: number;
  readonly acceptOverflows?: number;
  readonly retransmitRatio?: number;
}

/** Counters of one instant. */
interface Counted {
  readonly atMs: number;
  readonly cpuTotal: number | undefined;
  readonly cpuIdle: number | undefined;
  readonly cpuWait: number | undefined;
  /** Milliseconds with I/O in flight, by disk. */
  readonly disks: ReadonlyMap<string, number>;
  readonly overflows: number | undefined;
  readonly sent: number | undefined;
  readonly resent: number | undefined;
}

/** Reads the host; keeps the counters of the time before. */
export class HostSampler {
  readonly #root: string;
  readonly #pressureDirectory: string | undefined;
  #before: Counted | undefined;

  /** `unified`: the version 2 group, whose pressure goes before the host's. */
  constructor(root = '', unified?: string) {
    this.#root = root;
    this.#pressureDirectory = unified;
  }

  sample(nowMs: number): HostFigures {
    const now = this.#count(nowMs);
    const before = this.#before;
    this.#before = now;
    const cpu = growth(now.cpuTotal, before?.cpuTotal);
    const idle = growth(now.cpuIdle, before?.cpuIdle);
    const wait = growth(now.cpuWait, before?.cpuWait);
    const rest = idle === undefined ? undefined : idle + (wait ?? 0);
    const free = ratioOf(rest, cpu);
    return present({
      hostCpuRatio: free === undefined ? undefined : Math.max(0, 1 - free),
      ioWaitRatio: ratioOf(wait, cpu),
      ioRatio: busiestDisk(now, before),
      memoryRatio: this.#memory(),
      pressureCpu: this.#pressure('cpu'),
      pressureMemory: this.#pressure('memory'),
      pressureIo: this.#pressure('io'),
      acceptOverflows: growth(now.overflows, before?.overflows),
      retransmitRatio: resentRatio(now, before),
    });
  }

  #count(atMs: number): Counted {
    const root = this.#root;
    // proc(5): user nice system idle iowait irq softirq steal; guest time is in user already.
    const cpu = /^cpu +([\d ]+)/
      .exec(readText(`${root}/proc/stat`) ?? '')?.[1]
      ?.trim()
      .split(/ +/)
      .map(Number);
    // Of this thread: /proc/net would be the namespace of the main thread.
    const netstat = readText(`${root}/proc/thread-self/net/netstat`);
    const snmp = readText(`${root}/proc/thread-self/net/snmp`);
    return {
      atMs,
      cpuTotal: cpu?.slice(0, 8).reduce((sum, n) => sum + n, 0),
      cpuIdle: cpu?.[3],
      cpuWait: cpu?.[4],
      disks: parseDisks(readText(`${root}/proc/diskstats`) ?? ''),
      overflows: headedValue(netstat, 'TcpExt', 'ListenOverflows'),
      sent: headedValue(snmp, 'Tcp', 'OutSegs'),
      resent: headedValue(snmp, 'Tcp', 'RetransSegs'),
    };
  }

  #memory(): number | undefined {
    const text = readText(`${this.#root}/proc/meminfo`)?.replaceAll(/: +/g, ' ').replaceAll(' kB', '');
    const total = valueOf(text, 'MemTotal');
    const available = valueOf(text, 'MemAvailable');
    if (total === undefined || available === undefined) return undefined;
    return ratioOf(total - available, total);
  }

  #pressure(what: 'cpu' | 'memory' | 'io'): number | undefined {
    const group = this.#pressureDirectory;
    const text =
      (group === undefined ? undefined : readText(`${group}/${what}.pressure`)) ??
      readText(`${this.#root}/proc/pressure/${what}`);
    const percent = /^some avg10=(\d+\.\d+)/.exec(text ?? '')?.[1];
    return percent === undefined ? undefined : Number(percent) / 100;
  }
}

/** Leaves absent what is undefined. */
export function present<T extends object>(values: { [key in keyof T]: T[key] | undefined }): Partial<T> {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Partial<T>;
}

/** Whole disks that can be waited for: no loops, no RAM; partitions are in their disk already. */
function parseDisks(text: string): Map<string, number> {
  const disks = new Map<string, number>();
  let last = '';
  for (const line of text.split('\n')) {
    const columns = line.trim().split(/ +/);
    const name = columns[2];
    const busyMs = toCount(columns[12]);
    if (name === undefined || busyMs === undefined || /^(loop|ram|zram|sr|fd)\d/.test(name)) continue;
    // The kernel lists a disk before its partitions, whose names begin with the disk's.
    if (last !== '' && name.startsWith(last) && /^p?\d+$/.test(name.slice(last.length))) continue;
    last = name;
    disks.set(name, busyMs);
  }
  return disks;
}

/** The kernel counts in ticks: in a short period more than all of it may arrive at once. */
function busiestDisk(now: Counted, before: Counted | undefined): number | undefined {
  let highest: number | undefined;
  for (const [name, busyMs] of now.disks) {
    const ratio = ratioOf(growth(busyMs, before?.disks.get(name)), now.atMs - (before?.atMs ?? now.atMs));
    if (ratio !== undefined) highest = Math.max(highest ?? 0, Math.min(1, ratio));
  }
  return highest;
}

/** Nothing sent says nothing about loss: absent. */
function resentRatio(now: Counted, before: Counted | undefined): number | undefined {
  const ratio = ratioOf(growth(now.resent, before?.resent), growth(now.sent, before?.sent));
  return ratio === undefined ? undefined : Math.min(1, ratio);
}

/** Lines in pairs, `Prefix: names…` above `Prefix: values…`. */
function headedValue(text: string | undefined, prefix: string, name: string): number | undefined {
  const lines = (text ?? '').split('\n').filter((line) => line.startsWith(`${prefix}: `));
  const at = lines[0]?.split(' ').indexOf(name) ?? -1;
  return at < 0 ? undefined : toCount(lines[1]?.split(' ')[at]);
}
