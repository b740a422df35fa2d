/** What samples of CPU use say about overload. */
import type { CpuSample } from './cpu-sampler.js';

/** A quota counts as used up from here on; the last percent is lost between scheduler slices. */
export const overloadRatio = 0.95;

/** Whether a sample shows an endpoint at its limit. */
export function isOverloaded(sample: CpuSample): boolean {
  return sample.ratio >= overloadRatio;
}

/** Seconds of samples at the limit between two instants. */
export function overloadSeconds(samples: readonly CpuSample[], fromMs: number, toMs: number): number {
  const ms = samples
    .filter((s) => s.atMs > fromMs && s.atMs <= toMs && isOverloaded(s))
    .reduce((sum, s) => sum + s.lengthMs, 0);
  return ms / 1000;
}

/** Whether the limit was reached for `leastMs` without a pause in (fromMs, toMs]. */
export function isDisturbed(
  samples: readonly CpuSample[],
  fromMs: number,
  toMs: number,
  leastMs: number,
): boolean {
  let runMs = 0;
  for (const sample of samples) {
    if (sample.atMs <= fromMs || sample.atMs > toMs) continue;
    runMs = isOverloaded(sample) ? runMs + sample.lengthMs : 0;
    if (runMs >= leastMs) return true;
  }
  return false;
}
