/** Reads what endpoints' cgroups use of their CPU quotas, in the laboratory's own process: nobody measured has a say in it. */
import { monotonicMs } from '../../load/clients/monotonic.js';
import { readCgroupCpuUs } from '../lab-cgroup.js';

/** One reading of one endpoint. */
export interface CpuSample {
  /** End of the sample, CLOCK_MONOTONIC milliseconds. */
  readonly atMs: number;
  readonly lengthMs: number;
  /** Share of the quota used; 1 is all of it. */
  readonly ratio: number;
}

/** Length of a sample. */
export const sampleMs = 250;

/** An endpoint whose samples are taken. */
export interface MeteredEndpoint {
  readonly name: string;
  readonly directories: readonly string[];
  /** Share of one CPU. */
  readonly cpuShare: number;
}

/** Samples until it is stopped. */
export class CpuSampler {
  readonly samples: ReadonlyMap<string, CpuSample[]>;
  readonly #endpoints: readonly MeteredEndpoint[];
  readonly #lastUs = new Map<string, { readonly atMs: number; readonly usedUs: number }>();
  readonly #signal: AbortSignal | undefined;
  #timer: NodeJS.Timeout | undefined;
  #dueMs = 0;

  /** An interrupted laboratory is taken down while the sampler runs: with `signal` it ends by itself. */
  constructor(endpoints: readonly MeteredEndpoint[], signal?: AbortSignal) {
    this.#signal = signal;
    this.#endpoints = endpoints;
    this.samples = new Map(endpoints.map((e) => [e.name, []]));
  }

  start(): void {
    this.#dueMs = monotonicMs();
    this.#take();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #take(): void {
    if (this.#signal?.aborted === true) return;
    for (const { name, directories, cpuShare } of this.#endpoints) {
      const usedUs = readCgroupCpuUs(directories);
      const atMs = monotonicMs();
      const last = this.#lastUs.get(name);
      this.#lastUs.set(name, { atMs, usedUs });
      if (last === undefined) continue;
      const lengthMs = atMs - last.atMs;
      const ratio = (usedUs - last.usedUs) / (lengthMs * 1000 * cpuShare);
      this.samples.get(name)?.push({ atMs, lengthMs, ratio });
    }
    // From the schedule and not from now, so that samples do not drift; what was missed is one longer sample.
    do this.#dueMs += sampleMs;
    while (this.#dueMs <= monotonicMs());
    this.#timer = setTimeout(() => this.#take(), this.#dueMs - monotonicMs());
  }
}
