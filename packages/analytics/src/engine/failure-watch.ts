/**
 * Failure risk of each endpoint, learned on its own failures only: a raw score of distress (memory near its limit, memory
 * pressure, a slow event loop, retransmissions) is calibrated online, and a number is given only once it has proven itself.
 */
import type { EndpointMetrics } from '@restitch/wire/internal';
import { FailureRisk, type FailureStatement } from '../risk/failure-risk.js';

/** Failures an hour of a machine nobody knows: one in some months. */
const PRIOR_RATE = 1e-4;

interface Watched {
  readonly risk: FailureRisk;
  /** What was said in each of the last steps. */
  readonly said: (FailureStatement | undefined)[];
  lastFailureStep: number;
  now: number;
}

/** One risk an endpoint. */
export class FailureWatch {
  private readonly watched = new Map<number, Watched>();
  private step = 0;

  constructor(private readonly horizonSteps: number) {}

  /** It failed in this step. */
  failed(endpoint: number): void {
    this.of(endpoint).lastFailureStep = this.step;
  }

  /** One step of one endpoint; call `next` after all. */
  assess(endpoint: number, metrics: EndpointMetrics | undefined): void {
    const w = this.of(endpoint);
    const slot = this.step % this.horizonSteps;
    const due = w.said[slot];
    if (due !== undefined) w.risk.mature(due, w.lastFailureStep > this.step - this.horizonSteps);
    w.said[slot] = undefined;
    w.now = Number.NaN;
    if (metrics === undefined) return;
    const statement = w.risk.assess(distress(metrics));
    w.said[slot] = statement;
    if (statement.risk !== 'unknown') w.now = statement.risk;
  }

  next(): void {
    this.step++;
  }

  /** NaN = unknown. */
  riskOf(endpoint: number): number {
    return this.watched.get(endpoint)?.now ?? Number.NaN;
  }

  private of(endpoint: number): Watched {
    let w = this.watched.get(endpoint);
    if (w === undefined) {
      w = {
        risk: new FailureRisk(PRIOR_RATE, this.horizonSteps),
        said: [],
        lastFailureStep: Number.NEGATIVE_INFINITY,
        now: Number.NaN,
      };
      this.watched.set(endpoint, w);
    }
    return w;
  }
}

/** Raw log odds; only its order matters, the calibrator does the rest. */
function distress(m: EndpointMetrics): number {
  const memory = Math.max(0, (m.memoryRatio ?? 0) - 0.8) / 0.2;
  const slow = Math.log1p((m.eventLoopDelayMs ?? 0) / 100);
  return -7 + 4 * memory + 3 * (m.pressureMemory ?? 0) + slow + 3 * (m.retransmitRatio ?? 0);
}
