/** What the engine of a simulation has seen before the traffic begins: almost nothing going on, for a shorter or longer time. */
import type { AnalyticsEngine } from '@restitch/analytics';

/** A past. */
export interface SimulatedPast {
  readonly lengthMs: number;
  /**
   * As the laboratory has it: sessions that end soon, on endpoints that have no quota yet. In the period in which they get
   * one, their use of CPU is no share of either.
   */
  readonly isLaboratory?: boolean;
  /** The endpoints' quota is another until the last two periods. */
  readonly hasQuotaChange?: boolean;
}

interface PastFleet {
  readonly names: readonly string[];
  readonly cpuShare: number;
  readonly random: () => number;
}

const periodMs = 1000;
/** CPUs before the quota. */
const unlimitedCores = 2;

/** Lets the past pass: a tick a second, 5 to 15 % of the limit used. */
export function passPast(engine: AnalyticsEngine, past: SimulatedPast, fleet: PastFleet): void {
  const { lengthMs, isLaboratory = false, hasQuotaChange = isLaboratory } = past;
  const { names, cpuShare, random } = fleet;
  const sessions = Array.from({ length: 12 }, (_, i) => ({
    id: `w${i}`,
    endpoint: names[i % names.length]!,
  }));
  const tell = (atMs: number, what: 'opened' | 'ended'): void => {
    for (const { id, endpoint } of sessions) {
      engine.handle({ kind: 'session', atMs, what, session: id, endpoint, client: '10.77.0.3' });
    }
  };
  for (let atMs = periodMs; atMs <= lengthMs; atMs += periodMs) {
    if (isLaboratory && atMs === lengthMs - 12 * periodMs) tell(atMs - 500, 'opened');
    if (isLaboratory && atMs === lengthMs - 3 * periodMs) tell(atMs - 500, 'ended');
    const usual = {
      cpuRatio: 0.05 + 0.1 * random(),
      cpuLimitCores: hasQuotaChange ? unlimitedCores : cpuShare,
    };
    const metrics =
      !hasQuotaChange || atMs < lengthMs - periodMs
        ? usual
        : atMs < lengthMs
          ? { hostCpuRatio: 0.8, cpuLimitCores: cpuShare }
          : { cpuRatio: 0.03, cpuLimitCores: cpuShare };
    for (const endpoint of names) engine.handle({ kind: 'endpoint', atMs: atMs - 100, endpoint, metrics });
    engine.handle({ kind: 'tick', atMs });
    if (engine.trainingDue()) engine.handle({ kind: 'train', atMs });
  }
}
