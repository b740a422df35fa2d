/** Everything one process can say of the place it runs in, once a period. */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import type { EndpointMetrics } from '@restitch/wire/internal';
import { CgroupSampler, findCgroup } from './cgroup.js';
import { HostSampler, present } from './host.js';

/** A process that is put into another group (systemd, a container's start) is found again after so long. */
const findAgainMs = 10_000;
const loopDelayResolutionMs = 20;

/** Reads cgroup, host, namespace and event loop. */
export class SystemSampler {
  readonly #root: string;
  readonly #loopDelay: IntervalHistogram = monitorEventLoopDelay({ resolution: loopDelayResolutionMs });
  #cgroup: CgroupSampler | undefined;
  #host: HostSampler | undefined;
  #places = '';
  #foundMs = Number.NEGATIVE_INFINITY;

  /** `root` stands before /proc and /sys: a test's own tree. */
  constructor(root = '') {
    this.#root = root;
    this.#loopDelay.enable();
  }

  /** Figures since the sample before; counters of the first one have no past and are absent. `nowMs` monotonic. */
  sample(nowMs: number): EndpointMetrics {
    if (nowMs - this.#foundMs >= findAgainMs) this.#find(nowMs);
    const host = this.#host?.sample(nowMs) ?? {};
    const cgroup = this.#cgroup?.sample(nowMs) ?? {};
    return { ...host, ...cgroup, ...present({ eventLoopDelayMs: this.#takeLoopDelay() }) };
  }

  close(): void {
    this.#loopDelay.disable();
  }

  #find(nowMs: number): void {
    this.#foundMs = nowMs;
    const places = findCgroup(this.#root);
    const text = JSON.stringify(places);
    if (text === this.#places) return;
    this.#places = text;
    this.#cgroup = new CgroupSampler(places);
    this.#host = new HostSampler(this.#root, places.unified);
  }

  #takeLoopDelay(): number | undefined {
    const delayMs = this.#loopDelay.percentile(99) / 1e6 - loopDelayResolutionMs;
    const isMeasured = this.#loopDelay.count > 0;
    this.#loopDelay.reset();
    return isMeasured && Number.isFinite(delayMs) ? Math.max(0, delayMs) : undefined;
  }
}
