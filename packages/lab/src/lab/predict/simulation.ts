/**
 * Traffic against the engine, on endpoints that are only counted: what the rules do without a machine's noise.
 * The laboratory itself measures; this guards what was tuned there, and tries what would take the laboratory days.
 */
import { AnalyticsEngine, DEFAULT_ENGINE, engineStatus } from '@restitch/analytics';
import type { EngineInput, EngineOptions } from '@restitch/analytics';
import { rateAt } from '../../load/clients/paced-client.js';
import { createRandom } from '../../load/seeded-random.js';
import { calibrate } from './calibration.js';
import type { Calibration, ScoredOutcome } from './calibration.js';
import type { CpuSample } from './cpu-sampler.js';
import { disturbedMs } from './judge-moves.js';
import { horizonMs } from './modes.js';
import { isDisturbed, overloadRatio } from './overload.js';
import { passPast } from './simulated-past.js';
import type { SimulatedPast } from './simulated-past.js';
import { createTraffic, loadedEndpoint, noticeMs } from './traffic.js';
import type { PlannedClient, Traffic, TrafficPattern } from './traffic.js';

const names = ['a', 'b', 'c'];
const cpuShare = 0.2;
const stepMs = 50;
const sampleMs = 250;
const periodMs = 1000;
const requestCpuMs = 0.95;
/** From the tick that plans a move to its switch, and how many switch in a step. */
const moveLagMs = 60;
const movesPerStep = 2;

/** Who decides in a simulated run. */
export type SimulatedRule = 'none' | 'reactive' | 'early-80' | 'early-70' | 'predictive' | 'inverted';

/** What one simulated run gave. */
export interface Simulated {
  readonly overloadSeconds: number;
  readonly moves: number;
  readonly fellBack: boolean;
  readonly left: number;
  /** Of the scores, where nobody was moved. */
  readonly calibration: Calibration | undefined;
}

interface Live {
  readonly client: PlannedClient;
  at: string;
  /** Part of a request that is due. */
  due: number;
  requests: number;
}

interface Planned {
  readonly session: string;
  readonly to: string;
  readonly dueMs: number;
}

/** What a run is made of. */
export interface SimulationSetup {
  readonly traffic: Traffic;
  readonly rule: SimulatedRule;
  readonly seed: number;
  readonly past: SimulatedPast;
  /** What differs from the engine's defaults, other than what the rule says. */
  readonly options?: Partial<EngineOptions>;
}

/** Endpoints of every simulation, and the share of one CPU each of them has. */
export const simulatedFleet = { endpoints: names, cpuShare } as const;

/** The laboratory's own: its traffic, its options (a minute stands for an hour there), and its past. */
export function simulateLab(pattern: TrafficPattern, rule: SimulatedRule, seed: number): Simulation {
  const horizonS = horizonMs / 1000;
  return new Simulation({
    traffic: createTraffic({ pattern, seed, ...simulatedFleet }),
    rule,
    seed,
    past: { lengthMs: 25_000, isLaboratory: true },
    options: {
      horizonsS: [2, 4, horizonS],
      limits: { ...DEFAULT_ENGINE.limits, cpu: overloadRatio },
      objective: {
        ...DEFAULT_ENGINE.objective,
        horizonS,
        minLifeS: 10,
        enterScore: 0.7,
        leaveScore: 0.85,
      },
    },
  });
}

/** One run; endpoints work off what they can, the rest waits. */
export class Simulation {
  readonly traffic: Traffic;
  readonly engine: AnalyticsEngine;
  readonly #leadMs: number;
  readonly #random: () => number;
  readonly #sessions = new Map<string, Live>();
  readonly #waitingMs = new Map(names.map((name) => [name, 0]));
  readonly #sampled = new Map(names.map((name) => [name, 0]));
  readonly #reported = new Map(names.map((name) => [name, 0]));
  readonly #samples = new Map<string, CpuSample[]>(names.map((name) => [name, []]));
  readonly #scores: { atMs: number; endpoint: string; score: number; weight: number }[] = [];
  #planned: Planned[] = [];
  #coming: readonly PlannedClient[];
  overloadSeconds = 0;
  moves = 0;
  /** Sessions still on the endpoint that was told of its end, at its deadline. */
  left = 0;
  fellBack = false;

  constructor(setup: SimulationSetup) {
    const { traffic, rule, seed, past } = setup;
    this.traffic = traffic;
    this.#leadMs = past.lengthMs;
    this.#coming = this.traffic.clients.toSorted((x, y) => x.pace.openAtMs - y.pace.openAtMs);
    this.#random = createRandom(seed * 7919 + 13);
    this.engine = new AnalyticsEngine({
      ...DEFAULT_ENGINE,
      ...setup.options,
      mode: rule === 'none' ? 'shadow' : 'act',
      rule: rule === 'reactive' || rule.startsWith('early') ? 'reactive' : 'predictive',
      reactiveTrigger: rule === 'early-80' ? 0.8 : rule === 'early-70' ? 0.7 : 1,
      model: rule === 'inverted' ? 'inverted' : 'normal',
    });
    this.engine.handle({ kind: 'fleet', atMs: 1, endpoints: names.map((name) => ({ name, accepts: true })) });
    passPast(this.engine, past, { names, cpuShare, random: this.#random });
  }

  run(): Simulated {
    for (let nowMs = 0; nowMs < this.traffic.lengthMs; nowMs += stepMs) {
      this.#comeAndGo(nowMs);
      this.#move(nowMs);
      this.#disturb(nowMs);
      this.#work();
      const endMs = nowMs + stepMs;
      if (endMs % sampleMs === 0) this.#sample(endMs);
      this.#notice(endMs);
      if (endMs % periodMs === 0) this.#tick(endMs);
    }
    const { overloadSeconds, moves, fellBack, left } = this;
    return { overloadSeconds, moves, fellBack, left, calibration: calibrate(this.outcomes()) };
  }

  outcomes(): ScoredOutcome[] {
    return this.#scores.flatMap(({ atMs, endpoint, score, weight }) => {
      const samples = this.#samples.get(endpoint) ?? [];
      if (weight === 0 || atMs < this.traffic.scoredFromMs || atMs + horizonMs > this.traffic.lengthMs)
        return [];
      const stayedUndisturbed = !isDisturbed(samples, atMs, atMs + horizonMs, disturbedMs);
      return [{ score, stayedUndisturbed, weight }];
    });
  }

  #tell(atMs: number, what: 'opened' | 'ended' | 'moved', session: string, endpoint: string): void {
    const client = '10.77.0.2';
    this.engine.handle({ kind: 'session', atMs: this.#leadMs + atMs + 1, what, session, endpoint, client });
  }

  #comeAndGo(nowMs: number): void {
    const due = this.#coming.filter((client) => client.pace.openAtMs <= nowMs);
    this.#coming = this.#coming.slice(due.length);
    for (const client of due) {
      this.#sessions.set(client.tag, { client, at: client.home, due: this.#random(), requests: 0 });
      this.#tell(nowMs, 'opened', client.tag, client.home);
    }
    for (const [tag, live] of this.#sessions) {
      const { pace } = live.client;
      if (pace.closeAtMs !== undefined && nowMs >= pace.closeAtMs) {
        this.#sessions.delete(tag);
        this.#tell(nowMs, 'ended', tag, live.at);
        continue;
      }
      live.due += rateAt(pace.rate, nowMs) * (stepMs / 1000) * (0.6 + 0.8 * this.#random());
      const whole = Math.floor(live.due);
      live.due -= whole;
      live.requests += whole;
      add(this.#waitingMs, live.at, whole * requestCpuMs);
    }
  }

  #move(nowMs: number): void {
    for (const { session, to } of this.#planned.filter((p) => p.dueMs <= nowMs).slice(0, movesPerStep)) {
      this.#planned = this.#planned.filter((p) => p.session !== session);
      const live = this.#sessions.get(session);
      if (live === undefined) continue;
      live.at = to;
      this.moves++;
      this.#tell(nowMs, 'moved', session, to);
    }
  }

  #notice(nowMs: number): void {
    const { noticeAtMs } = this.traffic;
    if (noticeAtMs === undefined) return;
    if (nowMs - stepMs < noticeAtMs && nowMs >= noticeAtMs) {
      const deadlineAtMs = this.#leadMs + noticeAtMs + noticeMs;
      const notice = { kind: 'notice', endpoint: loadedEndpoint, what: 'preemption', deadlineAtMs } as const;
      this.engine.handle({ ...notice, atMs: this.#leadMs + nowMs });
    }
    if (nowMs <= noticeAtMs + noticeMs) {
      this.left = [...this.#sessions.values()].filter(({ at }) => at === loadedEndpoint).length;
    }
  }

  /** Work of others on the endpoint's quota, that no session causes. */
  #disturb(nowMs: number): void {
    for (const { endpoint, fromMs, toMs, share } of this.traffic.neighbours ?? [])
      if (nowMs >= fromMs && nowMs < toMs) add(this.#waitingMs, endpoint, share * cpuShare * stepMs);
  }

  #work(): void {
    for (const name of names) {
      const doneMs = Math.min(stepMs * cpuShare, this.#waitingMs.get(name) ?? 0);
      add(this.#waitingMs, name, -doneMs);
      add(this.#sampled, name, doneMs);
      add(this.#reported, name, doneMs);
    }
  }

  #sample(nowMs: number): void {
    for (const name of names) {
      const ratio = (this.#sampled.get(name) ?? 0) / (sampleMs * cpuShare);
      this.#sampled.set(name, 0);
      this.#samples.get(name)?.push({ atMs: nowMs, lengthMs: sampleMs, ratio });
      if (ratio >= overloadRatio && nowMs > this.traffic.scoredFromMs)
        this.overloadSeconds += sampleMs / 1000;
    }
  }

  #tick(atMs: number): void {
    for (const endpoint of names) {
      const cpuRatio = (this.#reported.get(endpoint) ?? 0) / (periodMs * cpuShare);
      this.#reported.set(endpoint, 0);
      const here = [...this.#sessions].filter(([, live]) => live.at === endpoint);
      const sessions = here.map(([id, live]) => {
        const { requests } = live;
        live.requests = 0;
        return { id, ageMs: 0, periodMs, requests, bytesIn: 64 * requests, bytesOut: 64 * requests };
      });
      const inputs: EngineInput[] = [
        {
          kind: 'endpoint',
          atMs: this.#leadMs + atMs - 100,
          endpoint,
          metrics: { cpuRatio, cpuLimitCores: cpuShare },
        },
        { kind: 'sessions', atMs: this.#leadMs + atMs - 100, endpoint, total: here.length, sessions },
      ];
      for (const input of inputs) this.engine.handle(input);
    }
    for (const output of this.engine.handle({ kind: 'tick', atMs: this.#leadMs + atMs })) {
      if (output.kind === 'event' && output.name === 'fell-back') this.fellBack = true;
      if (output.kind !== 'plan' || output.disposition !== 'move') continue;
      this.#planned.push(
        ...output.moves.map(({ session, to }) => ({ session, to, dueMs: atMs + moveLagMs })),
      );
    }
    // As the daemon does, between ticks.
    if (this.engine.trainingDue()) this.engine.handle({ kind: 'train', atMs: this.#leadMs + atMs });
    const { endpoints } = engineStatus(this.engine) as { endpoints: readonly EndpointStatus[] };
    for (const { name, score, sessions } of endpoints) {
      if (score !== undefined) this.#scores.push({ atMs, endpoint: name, score, weight: sessions });
    }
  }
}

interface EndpointStatus {
  readonly name: string;
  readonly score?: number;
  readonly sessions: number;
}

function add(sums: Map<string, number>, name: string, amount: number): void {
  sums.set(name, (sums.get(name) ?? 0) + amount);
}
