/** What the commands of the admin socket do. */
import { RestitchError } from '@restitch/core';
import type { AnswerTo, EventOf } from '@restitch/wire';
import { createAnalyticsCommands } from './analytics-commands.js';
import type { AdminRequest, MoveStep, SessionStats } from '@restitch/wire/internal';
import type { AdminHandler } from './admin-server.js';
import type { DaemonState } from './daemon-state.js';
import { requestSlowly } from '../model/endpoint-link.js';
import type { Endpoint } from '../model/endpoint-registry.js';
import { lifeCycle, stepOfState } from '../model/life-cycle.js';
import type { MoveState } from '../model/life-cycle.js';
import { isThrough } from '../model/session-registry.js';
import type { Session } from '../model/session-registry.js';

type Command = AdminRequest['cmd'];
type Args<C extends Command> = Extract<AdminRequest, { cmd: C }>;

/** Who asked: `emit` sends an event line before the answer, `signal` is aborted when the caller has gone. */
interface Caller<C extends Command> {
  readonly emit: (event: EventOf<C>) => void;
  readonly signal: AbortSignal;
}

/** What each command does; what it answers and sends is held to the schemas by its type. */
type Commands = {
  readonly [C in Command]: (args: Args<C>, caller: Caller<C>) => AnswerTo<C> | Promise<AnswerTo<C>>;
};

const statsDeadlineMs = 5000;
/** A story is told without figures rather than late. */
const costDeadlineMs = 500;
const drainReportMs = 200;
/** A query's page of sessions asked for at once. */
const sessionsPerStats = 4096;

/** The handler of the admin socket. */
export function createAdminHandler(d: DaemonState): AdminHandler {
  const commands: Commands = {
    status: () => statusOf(d),
    endpoints: () => d.endpoints.all().map((e) => endpointOf(d, e)),
    sessions: (args) => sessionsOf(d, args),
    session: ({ id }) => tellStory(d, id),
    migrate: (args) => migrate(d, args),
    recommend: (args) => recommend(d, args),
    drain: (args, caller) => drain(d, args, caller),
    undrain: ({ endpoint }) => {
      d.drains.stop(d.endpoints.require(endpoint));
      return endpointOf(d, d.endpoints.require(endpoint));
    },
    notice: (args) => notice(d, args),
    notices: () => d.collectors.notices.all(),
    'clients.forget': async ({ prefix }) => ({
      prefix,
      forgotten: await d.collectors.clients.forget(prefix),
    }),
    moves: ({ since, limit }) => ({ lastSeq: d.history.lastSeq, moves: d.history.since(since, limit) }),
    watch: (args, caller) => watch(d, args, caller),
    'take-overs': () => d.protection.records,
    'session-take-overs': () => d.takeOverHistory.all(),
    stats: ({ endpoint }) => statsOf(d, endpoint),
    ...createAnalyticsCommands(d.analytics),
    reload: async () => {
      await d.reload();
      return { reloaded: true };
    },
    pause: ({ step }) => pause(d, step),
    resume: () => {
      assertLab(d);
      d.coordinator.resume();
      return { resumed: true };
    },
  };
  return async (request, emit, signal) => {
    const command = commands[request.cmd] as (args: AdminRequest, caller: Caller<Command>) => unknown;
    return command(request, { emit, signal });
  };
}

function statusOf(d: DaemonState): AnswerTo<'status'> {
  const stats = d.dataplane.stats();
  return {
    name: d.config().name,
    cluster: d.config().cluster,
    pid: process.pid,
    startedAtMs: d.startedAtMs,
    isRebuilding: d.isRebuilding(),
    adopted: d.dataplane.isAdopted,
    sessions: d.sessions.size,
    closing: [...d.sessions.all()].filter(isThrough).length,
    endpoints: d.endpoints.all().length,
    moves: {
      running: d.coordinator.running().length,
      waiting: d.coordinator.waiting,
      paused: d.coordinator.running().filter((m) => m.isPaused).length,
      lastSeq: d.history.lastSeq,
    },
    waitingCopies: d.reconciler.waiting,
    doubts: [...d.sessions.all()].filter((s) => s.doubt !== undefined).length,
    dataplane: {
      flows: stats.flows,
      heldBytes: stats.heldBytes,
      heldDropped: stats.heldDropped,
      verdicts: numbers(stats.verdicts),
    },
    counters: Object.fromEntries(d.counters.entries()),
    drains: d.drains.all(),
    memory: process.memoryUsage(),
  };
}

function numbers(values: Readonly<Record<string, bigint>>): Record<string, number> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, Number(value)]));
}

function endpointOf(d: DaemonState, e: Endpoint): AnswerTo<'endpoints'>[number] {
  return {
    name: e.name,
    id: e.id,
    state: e.state,
    liveness: e.liveness,
    drain: e.drain,
    weight: e.weight,
    sessions: e.sessions.size,
    movesRunning: e.moves.size,
    app: e.hello?.app ?? null,
    instance: e.hello?.instance ?? null,
    stateAddress: e.hello?.stateAddress ?? null,
    dataAddress: e.hello?.dataAddress ?? null,
    listeners: e.hello?.listeners ?? [],
    features: e.hello?.features ?? [],
    eventLoopDelayMs: e.eventLoopDelayMs,
    lastHeardAgoMs: e.link === undefined ? null : d.clock.monotonicMs() - e.link.lastHeardMs,
    counters: e.counters,
    telemetry: d.collectors.telemetry.viewOf(e),
    path: d.collectors.paths.viewOf(e) ?? null,
    notice: d.collectors.notices.viewOf(e) ?? null,
    draining: d.drains.progressOf(e.name) ?? null,
    replication: replicationOf(e),
  };
}

/** Of an endpoint that takes part in crash protection: its own sessions, and what it keeps for others. */
function replicationOf({ hello, counters }: Endpoint): AnswerTo<'endpoints'>[number]['replication'] {
  if (hello?.protection === undefined) return null;
  const gauge = (name: string): number => counters[`endpoint_${name}`] ?? 0;
  return {
    protectedSessions: gauge('protected_sessions'),
    degradedSessions: gauge('degraded_sessions'),
    pendingSessions: gauge('unreplicated_sessions'),
    replicas: gauge('replicas'),
    replicaBytes: gauge('replica_bytes'),
    replicatedBytes: gauge('replicated_bytes'),
    commitDelayMs: { p50: gauge('commit_delay_p50_us') / 1000, p99: gauge('commit_delay_p99_us') / 1000 },
    addedLatencyMs: { p50: gauge('added_latency_p50_us') / 1000, p99: gauge('added_latency_p99_us') / 1000 },
  };
}

function sessionLine(s: Session): AnswerTo<'sessions'>['sessions'][number] {
  return {
    id: s.id,
    flow: s.flow,
    endpoint: s.owner.name,
    epoch: s.epoch,
    openedAtMs: s.openedAtMs,
    moves: s.moves,
    phase: isThrough(s) ? 'closing' : 'live',
    tailBytes: s.closing?.tailBytes ?? null,
    isFinishing: s.isFinishing === true,
    pinned: s.pinned ?? null,
    buddy: s.buddy?.name ?? null,
    cheapTarget: s.buddy?.isReady === true ? s.buddy.name : null,
    move: s.move === undefined ? null : { id: s.move.id, state: s.move.state, target: s.move.target.name },
    doubt: s.doubt ?? null,
  };
}

function sessionsOf(d: DaemonState, { endpoint, offset, limit }: Args<'sessions'>): AnswerTo<'sessions'> {
  const from = endpoint === undefined ? d.sessions.all() : d.endpoints.require(endpoint).sessions.values();
  const page: Array<AnswerTo<'sessions'>['sessions'][number]> = [];
  let i = 0;
  for (const session of from) {
    if (i++ < offset) continue;
    if (page.length >= limit) break;
    page.push(sessionLine(session));
  }
  const total = endpoint === undefined ? d.sessions.size : d.endpoints.require(endpoint).sessions.size;
  return { total, sessions: page };
}

/** A session's story with its endpoint's own word on what its protection costs; null if it does not say. */
async function tellStory(d: DaemonState, id: string): Promise<AnswerTo<'session'>> {
  const story = storyOf(d, id);
  const session = d.sessions.byId(id) ?? d.sessions.byFlowText(id);
  if (session?.buddy === undefined) return story;
  return { ...story, replication: await replicationCostOf(d, session) };
}

async function replicationCostOf(
  d: DaemonState,
  { id, owner }: Session,
): Promise<AnswerTo<'session'>['replication']> {
  if (owner.link === undefined) return null;
  try {
    const request = { t: 'stats' as const, sessionIds: [id] };
    const { sessions } = await requestSlowly(owner.link, request, d.clock, costDeadlineMs);
    return sessions[0]?.replication ?? null;
  } catch {
    return null;
  }
}

/** A session with its record, its moves and take-overs; an ended session still has those that are remembered. */
function storyOf(d: DaemonState, id: string): AnswerTo<'session'> {
  const session = d.sessions.byId(id) ?? d.sessions.byFlowText(id);
  const moves = d.history.ofSession(session?.id ?? id);
  const takeOvers = d.takeOverHistory.ofSession(session?.id ?? id);
  if (session === undefined && moves.length === 0 && takeOvers.length === 0)
    throw new RestitchError('unknown_session', `no session ${id}`);
  if (session === undefined) return { session: null, record: null, moves, takeOvers };
  const record = d.dataplane.lookup(session.flow);
  return {
    session: {
      ...sessionLine(session),
      location: d.collectors.locationOf(session.flow.client.address) ?? null,
    },
    record:
      record === undefined
        ? null
        : {
            endpoint: d.endpoints.byId(record.endpointId)?.name ?? `id ${record.endpointId}`,
            epoch: record.epoch,
            phase: record.phase,
            packets: Number(record.packets),
            bytes: Number(record.bytes),
            idleMs: Number(d.clock.monotonicNs() - record.lastSeenNs) / 1e6,
            sawReset: record.sawReset,
          },
    moves,
    takeOvers,
  };
}

async function migrate(d: DaemonState, { id, target, force }: Args<'migrate'>): Promise<AnswerTo<'migrate'>> {
  const request = {
    sessionId: id,
    origin: 'manual' as const,
    isForced: force,
    ...(target === undefined ? {} : { target }),
  };
  const { attempts, record } = await d.coordinator.migrate(request);
  return { attempts, move: record };
}

function recommend(d: DaemonState, { moves }: Args<'recommend'>): AnswerTo<'recommend'> {
  const { room } = d.coordinator;
  if (moves.length > room) {
    throw new RestitchError(
      'no_capacity',
      `${moves.length} recommendations, but the queue has room for ${room}`,
    );
  }
  for (const { id, target, priority } of moves) {
    d.coordinator.request(
      { sessionId: id, origin: 'recommended', priority, ...(target === undefined ? {} : { target }) },
      () => undefined,
    );
  }
  return { queued: moves.length };
}

async function drain(
  d: DaemonState,
  args: Args<'drain'>,
  { emit, signal }: Caller<'drain'>,
): Promise<AnswerTo<'drain'>> {
  const endpoint = d.endpoints.require(args.endpoint);
  const defaults = d.config().drain;
  const started = d.drains.start(
    endpoint,
    args.deadlineMs ?? defaults.deadlineMs,
    args.onDeadline ?? defaults.onDeadline,
  );
  if (!args.watch) return started;
  for (;;) {
    const progress = d.drains.progressOf(endpoint.name);
    if (progress === undefined) throw new RestitchError('closed', `the drain of ${endpoint.name} was undone`);
    if (progress.state === 'drained' || signal.aborted) return progress;
    emit(progress);
    await new Promise<void>((resolve) => d.clock.after(drainReportMs, resolve));
  }
}

function notice(d: DaemonState, { endpoint, what, inMs, cancel }: Args<'notice'>): AnswerTo<'notice'> {
  const of = d.endpoints.require(endpoint);
  const { notices } = d.collectors;
  return cancel ? { endpoint, cancelled: notices.cancel(of) } : notices.give(of, what, inMs, 'operator');
}

async function watch(
  d: DaemonState,
  { session }: Args<'watch'>,
  { emit, signal }: Caller<'watch'>,
): Promise<null> {
  const stop = d.feed.watch((event) => {
    if (session !== undefined) {
      const about =
        event.t === 'move' ? event.move.sessionId : 'sessionId' in event ? event.sessionId : undefined;
      if (about !== session) return;
    }
    emit(event);
  });
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  stop();
  return null;
}

/** The sockets' own figures of all sessions of one endpoint. */
async function statsOf(d: DaemonState, name: string): Promise<AnswerTo<'stats'>> {
  const endpoint = d.endpoints.require(name);
  const ids = [...endpoint.sessions].map((s) => s.id);
  const sessions: SessionStats[] = [];
  for (let i = 0; i < ids.length; i += sessionsPerStats) {
    if (endpoint.link === undefined) throw new RestitchError('peer_lost', `${name} is not connected`);
    const sessionIds = ids.slice(i, i + sessionsPerStats);
    const data = await requestSlowly(endpoint.link, { t: 'stats', sessionIds }, d.clock, statsDeadlineMs);
    sessions.push(...data.sessions);
  }
  return { endpoint: name, sessions };
}

function assertLab(d: DaemonState): void {
  if (!d.config().isLab) throw new RestitchError('forbidden', 'only a daemon with `lab: true` pauses moves');
}

function pause(d: DaemonState, step: MoveStep): AnswerTo<'pause'> {
  assertLab(d);
  const states = (Object.keys(lifeCycle) as Array<keyof typeof lifeCycle>).filter(
    // The target's word may overtake the source's: then the move never stands in `frozen`.
    (s) => stepOfState[s] === step || (step === 'thaw' && s === 'thawed-first'),
  );
  for (const state of states) d.coordinator.pauseAt(state satisfies MoveState);
  return { pausedAt: states };
}
