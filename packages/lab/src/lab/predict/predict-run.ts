/** One run of `lab predict`: a laboratory of its own, the seed's traffic, one mode of the analytics module. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { CliEnv } from '@restitch/console';
import type { MoveAnswer } from '@restitch/wire';
import { ClientFleet } from '../client-fleet.js';
import type { ClientReport, ClientSpec } from '../../load/clients/driver-messages.js';
import { monotonicMs } from '../../load/clients/monotonic.js';
import type { Lab } from '../lab.js';
import { LabAdmin } from '../lab-admin.js';
import { planClientAddresses } from '../lab-plan.js';
import type { LabListener } from '../lab-plan.js';
import { matchSessions, runMoveSeries } from '../move-load.js';
import { createRandom } from '../../load/seeded-random.js';
import { withLab } from '../with-lab.js';
import { CpuSampler } from './cpu-sampler.js';
import type { CpuSample } from './cpu-sampler.js';
import { analyticsOf, preciousService } from './modes.js';
import type { PredictMode } from './modes.js';
import { ScoreLog } from './score-log.js';
import type { Statements } from './score-log.js';
import { createTraffic, loadedEndpoint, noticeMs } from './traffic.js';
import type { Traffic, TrafficPattern } from './traffic.js';

/** What one run is about. */
export interface PredictRunOptions {
  readonly pattern: TrafficPattern;
  readonly mode: PredictMode;
  readonly seed: number;
  readonly cpuShare: number;
  readonly endpoints: number;
  readonly scale: number;
  readonly isInverted: boolean;
  /** Called when the traffic begins, with what fills while it runs. */
  readonly onStart?: (live: LiveRun) => void;
}

/** A run that is under way. */
export interface LiveRun {
  readonly startMs: number;
  readonly traffic: Traffic;
  readonly samples: ReadonlyMap<string, readonly CpuSample[]>;
  readonly scores: ScoreLog;
}

/** What one run gave; instants are CLOCK_MONOTONIC milliseconds. */
export interface PredictRun {
  readonly startMs: number;
  readonly mode: PredictMode;
  readonly seed: number;
  readonly traffic: Traffic;
  readonly statements: Statements;
  readonly samples: ReadonlyMap<string, readonly CpuSample[]>;
  readonly moves: readonly RunMove[];
  readonly clients: readonly ClientReport[];
}

/** A move of the run, or what came of one. */
export interface RunMove {
  readonly session: string;
  readonly source: string;
  readonly target: string;
  readonly outcome: MoveAnswer['outcome'];
  /** When its packets were kept; its end, if it did not come so far. */
  readonly atMs: number;
  /** When it was begun, wall time; for the order of moves. */
  readonly begunAtMs: number;
  /** Why it came to nothing. */
  readonly failure?: string;
  /** The client's local port, by which its report is found. */
  readonly clientPort: number;
}

/** Within it an endpoint can catch up with what neighbours took, and a pause is short against the budget of a move. */
const cpuPeriodMs = 20;
const firstPort = 7100;
const preciousPort = 7190;
const recordBytes = 64;
const warmUpSessions = 12;
const warmUpMoves = 150;
/** Clients connect and the sampler runs for so long before the traffic begins. */
const leadMs = 1500;
const drainMs = 20_000;

/** Runs the seed's traffic under one mode. */
export async function runPredict(env: CliEnv, options: PredictRunOptions): Promise<PredictRun> {
  const names = Array.from({ length: options.endpoints }, (_, i) => String.fromCharCode(97 + i));
  return withLab(
    env,
    {
      endpoints: options.endpoints,
      ipv6: false,
      rttMs: 0,
      lossRatio: 0,
      isMetered: true,
      listeners: createListeners(names),
      extraClientAddresses: 1,
      // A fifth of a CPU pauses for 16 ms of each 20: one session at a time is quick, two dozen at once are not.
      moves: { endpointConcurrency: 2, budget: '250ms' },
      analytics: analyticsOf(options.mode, options.isInverted),
    },
    (lab) => runInLab(lab, names, { ...options, signal: env.signal }),
  );
}

/** A service for each endpoint, which takes all its new sessions, and one for the sessions that are worth more. */
function createListeners(names: readonly string[]): LabListener[] {
  const listen = (name: string, home: string, port: number): LabListener => {
    const weights = Object.fromEntries(names.map((other) => [other, other === home ? 100 : 0]));
    return { name, application: 'burn', port, level: 'none', weights };
  };
  return [
    ...names.map((name, i) => listen(`burn-${name}`, name, firstPort + i)),
    listen(preciousService, loadedEndpoint, preciousPort),
  ];
}

async function runInLab(
  lab: Lab,
  names: readonly string[],
  options: PredictRunOptions & { readonly signal: AbortSignal },
): Promise<PredictRun> {
  const { cpuShare, mode, pattern, scale, seed } = options;
  const admin = await LabAdmin.open(lab.plan);
  const fleet = await ClientFleet.start(lab);
  try {
    await warmUp(lab, admin, fleet, names.length);
    const endpoints = names.map((name) => {
      const party = lab.party(name);
      lab.limit(party, { cpuShare, cpuPeriodMs });
      return { name, directories: lab.cgroupOf(party), cpuShare };
    });
    const seqBefore = (await admin.status()).moves.lastSeq;
    const traffic = createTraffic({ pattern, seed, cpuShare, endpoints: names, scale });
    const startMs = monotonicMs() + leadMs;
    fleet.plan(toSpecs(lab, names, traffic, startMs));
    const sampler = new CpuSampler(endpoints, options.signal);
    const scores = new ScoreLog(admin);
    sampler.start();
    scores.start();
    options.onStart?.({ startMs, traffic, samples: sampler.samples, scores });
    if (traffic.noticeAtMs !== undefined) {
      await sleep(startMs + traffic.noticeAtMs - monotonicMs());
      await admin.notice(loadedEndpoint, noticeMs);
    }
    await sleep(startMs + traffic.lengthMs - monotonicMs());
    scores.stop();
    sampler.stop();
    const records = await admin.moves(seqBefore);
    // What waits unanswered is worked off at full speed: it counts as late, but not as lost.
    for (const name of names) lab.limit(lab.party(name), {});
    const clients = await fleet.finish(drainMs);
    return {
      mode,
      seed,
      traffic,
      startMs,
      statements: scores.statements,
      samples: sampler.samples,
      moves: records.map(toRunMove),
      clients,
    };
  } finally {
    admin.close();
    await fleet.close();
  }
}

/** A fresh process compiles its code during the first hundred moves, and a quota would make that take long. */
async function warmUp(lab: Lab, admin: LabAdmin, fleet: ClientFleet, endpoints: number): Promise<void> {
  const [localAddress] = planClientAddresses(1);
  const opened = await fleet.open(
    Array.from({ length: warmUpSessions }, (_, i) => ({
      tag: `w${i}`,
      kind: 'line',
      address: lab.plan.vipIpv4,
      // Other clients than those of the traffic: how long these live must not be what is known of those.
      ...(localAddress === undefined ? {} : { localAddress }),
      port: firstPort + (i % endpoints),
      recordBytes,
      recordsPerSec: 20,
    })),
  );
  const sessions = await matchSessions(admin, opened);
  const ids = [...sessions.values()].map((session) => session.id);
  const { signal } = new AbortController();
  const pace = { movesPerSec: 100, concurrency: 2, random: createRandom(1), signal };
  await runMoveSeries(admin, { ...pace, moves: warmUpMoves, candidates: () => ids });
  await fleet.finish(drainMs);
}

function toSpecs(lab: Lab, names: readonly string[], traffic: Traffic, startMs: number): ClientSpec[] {
  return traffic.clients.map(({ tag, home, isPrecious, pace }) => ({
    tag,
    kind: 'paced',
    address: lab.plan.vipIpv4,
    port: isPrecious ? preciousPort : firstPort + names.indexOf(home),
    recordBytes,
    recordsPerSec: 0,
    pace: {
      ...pace,
      openAtMs: startMs + pace.openAtMs,
      ...(pace.closeAtMs === undefined ? {} : { closeAtMs: startMs + pace.closeAtMs }),
      rate: pace.rate.map(([atMs, perSec]) => [startMs + atMs, perSec] as const),
    },
  }));
}

function toRunMove(record: MoveAnswer): RunMove {
  const { sessionId, source, target, outcome, failure, flow } = record;
  return {
    session: sessionId,
    source,
    target,
    outcome,
    atMs: (record.holdNs > 0 ? record.holdNs : record.endedNs) / 1e6,
    begunAtMs: record.startedAtMs,
    clientPort: flow.client.port,
    ...(failure === undefined ? {} : { failure: `${failure.step}: ${failure.message}` }),
  };
}
