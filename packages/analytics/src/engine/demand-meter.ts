/**
 * What sessions ask of an endpoint's CPU. Measured CPU stops at the quota, whatever is asked: there it is requests × what a request
 * has cost, and what was asked and not done waits as a backlog.
 */

/** Share of the quota from which on a figure says "at least this much". */
const FULL_RATIO = 0.97;
/** Periods after which what was learned of the cost counts 1/e. */
const COST_MEMORY = 60;
/** Periods with requests before a cost is believed. */
const MIN_PERIODS = 3;
/** Requests a second below which none are counted. */
const RAREST = 1e-3;
/** Variation of the request rate, against its mean, at which intercept and slope are told apart. */
const TOLD_APART = 0.15;
/** A backlog of more is work that nobody waits for any more. */
const MAX_BACKLOG_S = 30;

/** Decayed sums of CPUs used against requests a second, of periods below the quota; and the work that waits. */
interface Meter {
  weight: number;
  rate: number;
  cpu: number;
  rateSquares: number;
  products: number;
  periods: number;
  /** CPU seconds. */
  backlog: number;
}

/** One meter an endpoint. */
export class DemandMeter {
  private readonly meters = new Map<number, Meter>();

  /**
   * One period of `periodS` of endpoint `e`: `cpuRatio` of `cores` used, `requestsPerSec` asked for (undefined: not known).
   * Returns the demand as a share of the quota: what was measured, or more where the quota was used up.
   */
  observe(
    e: number,
    cpuRatio: number,
    cores: number,
    requestsPerSec: number | undefined,
    periodS: number,
  ): number {
    const meter = this.of(e);
    const used = cpuRatio * cores;
    if (!(cpuRatio >= FULL_RATIO)) {
      meter.backlog = 0;
      if (requestsPerSec !== undefined && cpuRatio >= 0) learn(meter, requestsPerSec, used);
      return cpuRatio;
    }
    if (requestsPerSec === undefined || meter.periods < MIN_PERIODS) return cpuRatio;
    const asked = costOf(meter, requestsPerSec);
    const wasWaiting = meter.backlog > 0;
    meter.backlog = Math.max(0, Math.min(MAX_BACKLOG_S * cores, meter.backlog + (asked - used) * periodS));
    // A full quota that neither requests nor a backlog explain is other work: it asks for all that was measured.
    return wasWaiting ? asked / cores : Math.max(asked / cores, cpuRatio);
  }

  /** CPU seconds of work that waits at endpoint `e`. */
  backlog(e: number): number {
    return this.meters.get(e)?.backlog ?? 0;
  }

  private of(e: number): Meter {
    const known = this.meters.get(e);
    if (known !== undefined) return known;
    const made = { weight: 0, rate: 0, cpu: 0, rateSquares: 0, products: 0, periods: 0, backlog: 0 };
    this.meters.set(e, made);
    return made;
  }
}

function learn(meter: Meter, rate: number, cpu: number): void {
  const keep = 1 - 1 / COST_MEMORY;
  meter.weight = keep * meter.weight + 1;
  meter.rate = keep * meter.rate + rate;
  meter.cpu = keep * meter.cpu + cpu;
  meter.rateSquares = keep * meter.rateSquares + rate * rate;
  meter.products = keep * meter.products + rate * cpu;
  if (rate > 0) meter.periods++;
}

/**
 * CPUs for `rate` requests a second by the line through the past. While the past's rates were all alike, nothing tells what is spent
 * without requests, and the line goes through nought.
 */
function costOf(meter: Meter, rate: number): number {
  const { weight, rateSquares, products } = meter;
  const meanRate = meter.rate / weight;
  const meanCpu = meter.cpu / weight;
  // Requests so rare, or so long ago, say nothing of a cost.
  if (!(rateSquares / weight > RAREST ** 2)) return meanCpu;
  const throughNought = products / rateSquares;
  const ridge = (TOLD_APART * meanRate) ** 2;
  const variance = Math.max(0, rateSquares / weight - meanRate * meanRate);
  const covariance = products / weight - meanRate * meanCpu;
  const slope = (covariance + ridge * throughNought) / (variance + ridge);
  // Neither a request nor the idle process gives CPU back.
  const perRequest = Math.max(0, Math.min(slope, meanCpu / meanRate));
  return meanCpu + perRequest * (rate - meanRate);
}
