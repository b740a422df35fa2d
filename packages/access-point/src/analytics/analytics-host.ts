/**
 * Runs the analytics engine beside the daemon: gives it everything that happens once a period, carries its plans out, and
 * keeps the last word. Whether anything moves by itself is decided here and at once; the engine may be slow, hang or die.
 */
import { RestitchError } from '@restitch/core';
import type { Clock, Counters, Logger } from '@restitch/core';
import type { AnalyticsMode, EngineInput, EngineOutput, EventOutput, PlanOutput } from '@restitch/analytics';
import type { AnalyticsConfig } from '../config/index.js';
import type { Coordinator } from '../moves/coordinator.js';
import type { MoveDone, MoveRequest, MoveResult } from '../moves/move-request.js';
import type { EndpointRegistry } from '../model/endpoint-registry.js';
import type { EventFeed } from '../model/event-feed.js';
import type { SessionRegistry } from '../model/session-registry.js';
import type { EngineQuery } from './engine-loop.js';
import type { EngineRunner, StartRunner } from './engine-runner.js';
import { FleetTeller } from './fleet-teller.js';
import type { InputHub } from './input-hub.js';
import { VerdictSender } from './verdict-sender.js';

/** What the host works with. */
export interface AnalyticsHostDeps {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly endpoints: EndpointRegistry;
  readonly sessions: SessionRegistry;
  readonly coordinator: Coordinator;
  readonly feed: EventFeed;
  readonly inputs: InputHub;
  readonly config: () => AnalyticsConfig;
  /** Labels and capacities as configured. */
  readonly endpointConfig: ConstructorParameters<typeof FleetTeller>[0]['endpointConfig'];
  readonly locationOf?: (address: string) => string | undefined;
  readonly start: StartRunner;
}

/** Inputs of one period; more means that something floods us. */
const maxInputs = 200_000;
/** An engine that has not answered for so many periods (and so long) hangs. */
const hangPeriods = 10;
const hangMs = 20_000;
/** First and longest pause before a dead engine is started anew. */
const firstRestartMs = 1000;
const longestRestartMs = 60_000;
const queryMs = 5000;
/** Events kept for `analytics status`. */
const maxEvents = 50;

/** How the host is. */
export interface HostView {
  readonly mode: AnalyticsMode;
  readonly engine: 'running' | 'restarting' | 'off';
  readonly restarts: number;
  readonly unansweredPeriods: number;
  readonly moves: {
    readonly given: number;
    readonly committed: number;
    readonly reverted: number;
    readonly refused: number;
  };
  readonly events: ReadonlyArray<{ readonly atMs: number; readonly name: string; readonly text: string }>;
}

/** See the head of the file. */
export class AnalyticsHost {
  readonly #deps: AnalyticsHostDeps;
  readonly #teller: FleetTeller;
  readonly #verdicts: VerdictSender;
  /** Plans an operator said yes to, not carried out yet. */
  readonly #accepted = new Set<number>();
  #runner: EngineRunner | undefined;
  #mode: AnalyticsMode;
  #waiting: EngineInput[] = [];
  #stopInputs: () => void = () => undefined;
  #cancelTick: () => void = () => undefined;
  #cancelRestart: () => void = () => undefined;
  #restartMs = firstRestartMs;
  #restarts = 0;
  #answeredAtMs = 0;
  #startedAtMs = 0;
  readonly #moves = { given: 0, committed: 0, reverted: 0, refused: 0 };
  readonly #events: Array<HostView['events'][number]> = [];
  #isClosed = false;

  constructor(deps: AnalyticsHostDeps) {
    this.#deps = deps;
    this.#mode = deps.config().engine.mode;
    const { endpoints, sessions, inputs, clock, endpointConfig, locationOf } = deps;
    const where = locationOf === undefined ? {} : { locationOf };
    this.#teller = new FleetTeller({ endpoints, sessions, inputs, clock, endpointConfig, ...where });
    this.#verdicts = new VerdictSender(endpoints);
    // From the beginning: notices of before the start are in force after it.
    this.#stopInputs = inputs.attach({ push: (input) => this.#take(input) });
  }

  start(): void {
    const { clock } = this.#deps;
    this.#teller.start();
    this.#answeredAtMs = clock.monotonicMs();
    this.#startRunner(this.#deps.config().recordFile);
    this.#tickLater();
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelTick();
    this.#cancelRestart();
    this.#stopInputs();
    this.#teller.close();
    this.#runner?.close();
    this.#runner = undefined;
  }

  get mode(): AnalyticsMode {
    return this.#mode;
  }

  /** Counts at once, whatever the engine does: after `off`, `shadow` or `advise` no automatic move begins. */
  setMode(mode: AnalyticsMode): { mode: AnalyticsMode; dropped: number } {
    const { coordinator, clock, counters } = this.#deps;
    const before = this.#mode;
    this.#mode = mode;
    const dropped = mode === 'act' ? 0 : coordinator.dropAutomatic();
    if (mode !== 'act') {
      this.#verdicts.retract();
      this.#accepted.clear();
    }
    const input: EngineInput = { kind: 'mode', atMs: clock.monotonicMs(), mode };
    this.#runner?.post([input]);
    if (before !== mode) {
      counters.add(`analytics_mode_${mode}_total`);
      this.#note('mode', `mode ${before} → ${mode}, ${dropped} waiting moves dropped`);
    }
    return { mode, dropped };
  }

  /** An operator's yes to a plan of `advise`. */
  accept(planId: number): void {
    this.#accepted.add(planId);
    this.#need().post([{ kind: 'accept', atMs: this.#deps.clock.monotonicMs(), planId }]);
  }

  /** Fits models now; what comes of it runs in shadow first. */
  train(): void {
    this.#need().post([{ kind: 'train', atMs: this.#deps.clock.monotonicMs(), byOperator: true }]);
  }

  rollback(): void {
    this.#need().post([{ kind: 'rollback', atMs: this.#deps.clock.monotonicMs() }]);
  }

  /** Asks the engine. Rejects with `peer_lost` or `deadline_exceeded` while it cannot answer. */
  async query(query: EngineQuery): Promise<unknown> {
    const { clock } = this.#deps;
    const answer = this.#need().query(query);
    let cancel: () => void = () => undefined;
    const late = new Promise<never>((_, reject) => {
      cancel = clock.after(queryMs, () =>
        reject(
          new RestitchError('deadline_exceeded', `the analytics engine did not answer in ${queryMs} ms`),
        ),
      );
    });
    try {
      const value = await Promise.race([answer, late]);
      // A recording begun in the middle needs to know who is there.
      if (query.q === 'record' && query.file !== null) {
        this.#runner?.post([...this.#teller.everything(), ...this.#deps.inputs.current()]);
      }
      return value;
    } finally {
      cancel();
    }
  }

  get view(): HostView {
    return {
      mode: this.#mode,
      engine: this.#runner === undefined ? 'restarting' : 'running',
      restarts: this.#restarts,
      unansweredPeriods: this.#runner?.unanswered ?? 0,
      moves: { ...this.#moves },
      events: [...this.#events],
    };
  }

  /** A configuration was taken up: the engine begins anew with it, unless only the mode differs. */
  reconfigured(before: AnalyticsConfig): void {
    const next = this.#deps.config();
    const strip = (c: AnalyticsConfig): string => JSON.stringify({ ...c, engine: { ...c.engine, mode: '' } });
    if (before.engine.mode !== next.engine.mode) this.setMode(next.engine.mode);
    if (strip(before) === strip(next)) return;
    this.#runner?.close();
    this.#note('cold-start', 'configuration changed');
    this.#startRunner(next.recordFile);
  }

  #need(): EngineRunner {
    if (this.#runner === undefined)
      throw new RestitchError('peer_lost', 'the analytics engine is being started anew');
    return this.#runner;
  }

  #take(input: EngineInput): void {
    this.#teller.note(input);
    if (this.#waiting.length < maxInputs) this.#waiting.push(input);
    else this.#deps.counters.add('analytics_inputs_dropped_total');
  }

  #startRunner(recordFile: string | undefined): void {
    const { config, start, clock, inputs } = this.#deps;
    const options = { ...config().engine, mode: this.#mode };
    const { ownModelFile } = config();
    const runner = start({
      options,
      ...(recordFile === undefined ? {} : { recordFile }),
      storeDirectory: config().storeDirectory,
      ...(ownModelFile === undefined ? {} : { ownModelFile }),
      onOutputs: (outputs) => {
        if (this.#runner === undefined || this.#runner === runner || runner === undefined)
          this.#hear(outputs);
      },
      onExit: (reason) => this.#lose(reason),
    });
    this.#runner = runner;
    this.#startedAtMs = clock.monotonicMs();
    this.#answeredAtMs = this.#startedAtMs;
    this.#waiting = [];
    runner.post([...this.#teller.everything(), ...inputs.current()]);
  }

  #tickLater(): void {
    const { clock, config } = this.#deps;
    this.#cancelTick = clock.after(config().engine.periodMs, () => {
      this.#tickLater();
      this.#tick();
    });
  }

  #tick(): void {
    const { clock, config } = this.#deps;
    const nowMs = clock.monotonicMs();
    this.#teller.tellChanges(nowMs);
    const inputs = this.#waiting;
    this.#waiting = [];
    const runner = this.#runner;
    if (runner === undefined) return;
    const patienceMs = Math.max(hangMs, hangPeriods * config().engine.periodMs);
    if (runner.unanswered > 0 && nowMs - this.#answeredAtMs > patienceMs) {
      runner.close();
      this.#lose(`has not answered for ${Math.round(nowMs - this.#answeredAtMs)} ms`);
      return;
    }
    if (runner.unanswered === 0) this.#answeredAtMs = nowMs;
    inputs.push({ kind: 'tick', atMs: nowMs });
    runner.post(inputs);
  }

  #lose(reason: string): void {
    if (this.#isClosed) return;
    const { clock, counters, coordinator } = this.#deps;
    // One that lived for a while has not died of its start.
    if (clock.monotonicMs() - this.#startedAtMs > longestRestartMs) this.#restartMs = firstRestartMs;
    this.#runner = undefined;
    this.#restarts++;
    counters.add('analytics_engine_restarts_total');
    const dropped = coordinator.dropAutomatic();
    this.#note(
      'engine-lost',
      `${reason}; ${dropped} waiting moves dropped, cold start in ${this.#restartMs} ms`,
    );
    this.#cancelRestart = clock.after(this.#restartMs, () => this.#startRunner(undefined));
    this.#restartMs = Math.min(longestRestartMs, this.#restartMs * 2);
  }

  #hear(outputs: readonly EngineOutput[]): void {
    if (this.#isClosed) return;
    this.#answeredAtMs = this.#deps.clock.monotonicMs();
    for (const output of outputs) {
      if (output.kind === 'event') this.#hearEvent(output);
      else if (output.kind === 'plan') this.#carryOut(output);
      else if (this.#mayMove()) this.#verdicts.send(output);
    }
  }

  #mayMove(): boolean {
    return this.#mode === 'act' || this.#mode === 'advise';
  }

  #hearEvent(event: EventOutput): void {
    const { counters, coordinator } = this.#deps;
    if (event.name === 'mode') return;
    counters.add(`analytics_${event.name.replaceAll('-', '_')}_total`);
    if (event.name === 'brake-pulled') {
      counters.add(`analytics_brake_${event.brake ?? 'none'}_total`);
      if (event.brake !== 'rate') {
        coordinator.dropAutomatic();
        this.#verdicts.retract();
      }
    }
    this.#note(event.name, event.text);
  }

  #note(name: string, text: string): void {
    const { logger, feed, clock } = this.#deps;
    const atMs = clock.wallMs();
    logger.info({ event: name }, `analytics: ${text}`);
    this.#events.push({ atMs, name, text });
    if (this.#events.length > maxEvents) this.#events.shift();
    if (feed.isWatched) feed.emit({ t: 'analytics', atMs, name, text });
  }

  /** A session asks for its own move because of a verdict: the queue's as the plan's own, and refused while nothing moves by itself. */
  ask(request: Omit<MoveRequest, 'origin'> & { readonly from: string }, done: MoveDone): void {
    const { coordinator, counters } = this.#deps;
    if (!this.#mayMove() || this.#runner === undefined) {
      done(new RestitchError('forbidden', 'nothing moves by itself now'));
      return;
    }
    const { sessionId, from } = request;
    coordinator.request({ ...request, origin: 'session', isAutomatic: true }, (result) => {
      counters.add(`analytics_self_moves_${outcomeOf(result)}_total`);
      // One that did not begin leaves the plan as it is.
      if (!(result instanceof RestitchError)) this.#moveEnded(sessionId, from, 'session', result);
      done(result);
    });
  }

  #carryOut(plan: PlanOutput): void {
    const isAccepted = this.#accepted.delete(plan.planId);
    if (plan.disposition !== 'move' || !(this.#mode === 'act' || isAccepted)) return;
    const { coordinator, counters } = this.#deps;
    for (const { session, from, to, priority } of plan.moves) {
      if (coordinator.room === 0) {
        counters.add('analytics_queue_full_total');
        this.#answer('refused', session, from);
        continue;
      }
      this.#moves.given++;
      counters.add('analytics_moves_given_total');
      coordinator.request(
        { sessionId: session, from, target: to, origin: 'recommended', priority, isAutomatic: true },
        (result) => this.#moveEnded(session, from, 'recommended', result),
      );
    }
  }

  /** A move that the plan and its session want is told to both: whoever it was begun for counts it. */
  #moveEnded(
    session: string,
    from: string,
    origin: 'session' | 'recommended',
    result: MoveResult | RestitchError,
  ): void {
    if (!(result instanceof RestitchError) && result.record.origin !== origin) return;
    const outcome = outcomeOf(result);
    this.#moves[outcome]++;
    this.#deps.counters.add(`analytics_moves_${outcome}_total`);
    // Of one that committed the engine hears as of any other.
    if (outcome !== 'committed') this.#answer(outcome, session, from);
  }

  #answer(what: 'refused' | 'reverted', session: string, endpoint: string): void {
    const atMs = this.#deps.clock.monotonicMs();
    this.#deps.inputs.push({ kind: 'session', atMs, what, session, endpoint });
  }
}

function outcomeOf(result: MoveResult | RestitchError): 'committed' | 'reverted' | 'refused' {
  if (result instanceof RestitchError) return 'refused';
  const { outcome } = result.record;
  return outcome === 'failed' ? 'refused' : outcome;
}
