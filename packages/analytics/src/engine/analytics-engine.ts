/**
 * The analytics of one access point as a machine: inputs in, plans, verdicts and events out. It reads no clock, file or
 * socket; the same inputs give the same outputs, which is what a replay is.
 *
 * Inputs of a period wait for its tick and are then taken in one order, so the order in which they came does not matter.
 * Only what must count at once does: mode, accept, and the training, which its caller puts between ticks.
 */
import {
  type BrakeInput,
  type BrakeState,
  createBrakes,
  movesAllowed,
  stepBrakes,
} from '../control/brakes.js';
import {
  createGovernor,
  type GovernorInput,
  type GovernorState,
  stepGovernor,
} from '../control/mode-governor.js';
import { MovedLoadLedger } from '../control/moved-load.js';
import { planRound } from '../control/planning-round.js';
import type { Plan } from '../plan/planner.js';
import { SESSION_PINNED } from '../plan/fleet.js';
import type { OwnModelRows } from '../risk/own-model.js';
import { ClientHistory } from '../risk/client-history.js';
import { EndpointBook } from './endpoint-book.js';
import type {
  EngineEventName,
  EngineInput,
  EngineMove,
  EngineOutput,
  EventOutput,
  PlanOutput,
} from './engine-input.js';
import type { EngineOptions } from './engine-options.js';
import { FailureWatch } from './failure-watch.js';
import { sortInputs } from './input-order.js';
import { type LiveFleet, LiveFleetBuilder } from './live-fleet.js';
import { LoadForecasts } from './load-forecasts.js';
import type { ModelNews } from './metric-forecast.js';
import { PendingMoves } from './pending-moves.js';
import { SessionBook } from './session-book.js';
import { encodeStoredModel } from './stored-model.js';

/** Inputs of one period; beyond it the newest are dropped and said so. */
const MAX_WAITING = 200_000;
/** The governor judges the model once in so many ticks. */
const JUDGE_TICKS = 10;
/**
 * A Brier score worse by less says nothing: while no limit is crossed for a long time both rules are almost perfect, and the
 * ratio of two losses near zero would condemn a forecast for a few cautious percent. The bound is half of what a forecast
 * loses that is always just short of moving somebody, and always wrong.
 */
function immaterialLoss(enterScore: number): number {
  return 0.5 * (1 - enterScore) ** 2;
}
/** Plans that may still be accepted. */
const MAX_PLANS = 60;

type SessionInput = Extract<EngineInput, { kind: 'session' }>;

/** See the head of the file. */
export class AnalyticsEngine {
  readonly endpoints: EndpointBook;
  readonly sessions = new SessionBook();
  readonly loads: LoadForecasts;
  readonly pending = new PendingMoves(this.sessions);
  governor: GovernorState;
  brakes: BrakeState = createBrakes();
  /** The view of the last tick. */
  live: LiveFleet | undefined;
  lastPlan: PlanOutput | undefined;
  lastDetail: Plan | undefined;
  ticks = 0;
  nowMs = Number.NaN;
  droppedInputs = 0;
  private readonly builder: LiveFleetBuilder;
  private readonly failures: FailureWatch;
  private readonly ledger = new MovedLoadLedger();
  private readonly plans = new Map<number, PlanOutput>();
  private readonly uncertain = new Set<string>();
  private waiting: EngineInput[] = [];
  private planId = 0;
  private generation = 0;
  /** Endpoints that were told verdicts last. */
  private told = new Set<string>();
  private wasInsufficient = false;

  constructor(readonly options: EngineOptions) {
    const { limits, periodMs, horizonsS } = options;
    this.endpoints = new EndpointBook(limits, periodMs);
    this.loads = new LoadForecasts(options);
    this.failures = new FailureWatch(Math.max(1, Math.round((horizonsS.at(-1)! * 1000) / periodMs)));
    this.governor = createGovernor(options.mode);
    this.brakes = { ...this.brakes, off: options.mode === 'off' };
    const { endpoints, sessions, loads, pending, failures } = this;
    this.builder = new LiveFleetBuilder({
      options,
      endpoints,
      sessions,
      loads,
      pending: pending.moves,
      failureRisk: (entry) => failures.riskOf(entry.index),
    });
    if (options.history !== undefined)
      sessions.history = ClientHistory.restore(options.history) ?? sessions.history;
  }

  /** Takes one input. */
  handle(input: EngineInput): readonly EngineOutput[] {
    switch (input.kind) {
      case 'tick':
        return this.tick(input.atMs);
      case 'mode':
        return this.setMode(input);
      case 'accept':
        return this.accept(input.planId, input.atMs);
      case 'train':
        return this.newsOf(this.loads.train(input.byOperator === true), input.atMs);
      case 'own-scores':
        this.loads.giveOwnScores(input.scores);
        return [];
      case 'rollback':
        return this.loads.rollback()
          ? [this.event('model-rolled-back', input.atMs, 'the model before is active again')]
          : [];
      default:
        if (this.waiting.length >= MAX_WAITING) this.droppedInputs++;
        else this.waiting.push(input);
        return [];
    }
  }

  /** Whether a `train` input has something to do. */
  trainingDue(): boolean {
    return this.loads.trainingDue();
  }

  /** What the operator's own model is to be asked after a tick; undefined without one, or before its metric was seen. */
  ownModelRows(): OwnModelRows | undefined {
    return this.loads.ownModelRows(this.endpoints.count);
  }

  /** Trained models as text, for the store; undefined while there are none. */
  exportModel(): string | undefined {
    return encodeStoredModel(this.loads.store());
  }

  private tick(nowMs: number): EngineOutput[] {
    const outputs: EngineOutput[] = [];
    // A clock that goes back would make everything old look new.
    this.nowMs = nowMs > this.nowMs || Number.isNaN(this.nowMs) ? nowMs : this.nowMs;
    this.ticks++;
    for (const input of sortInputs(this.waiting)) this.fold(input, outputs);
    this.waiting = [];
    if (this.droppedInputs > 0) {
      outputs.push(this.event('inputs-dropped', nowMs, `${this.droppedInputs} inputs were too many`));
      this.droppedInputs = 0;
    }
    this.pending.expire(this.nowMs);
    this.sessions.refresh(this.nowMs, this.ticks, this.options.objective.horizonS);
    this.observe(outputs);
    this.judge(outputs);
    this.brake({ t: 'tick', atMs: this.nowMs }, outputs);
    this.plan(outputs);
    this.tellVerdicts(outputs);
    return outputs;
  }

  private fold(input: EngineInput, outputs: EngineOutput[]): void {
    switch (input.kind) {
      case 'endpoint':
        if (this.endpoints.figures(input)) this.brake({ t: 'telemetry', atMs: input.atMs }, outputs);
        return;
      case 'sessions':
        this.endpoints.demand(input);
        this.sessions.demand(input);
        return;
      case 'path':
        this.endpoints.probe(input);
        return;
      case 'notice':
        this.endpoints.ensure(input.endpoint).notice =
          input.what === 'none' ? undefined : { what: input.what, deadlineAtMs: input.deadlineAtMs };
        return;
      case 'session':
        this.foldSession(input, outputs);
        return;
      case 'fleet':
        this.endpoints.setFleet(input.endpoints);
        return;
      case 'failed':
        this.failures.failed(this.endpoints.ensure(input.endpoint).index);
        return;
      case 'history':
        this.sessions.history = ClientHistory.restore(input.stored) ?? this.sessions.history;
        return;
      case 'erase':
        this.sessions.history.erase(input.prefix);
        this.sessions.resets.erase(input.prefix);
        return;
      default:
    }
  }

  private foldSession(input: SessionInput, outputs: EngineOutput[]): void {
    const { sessions, pending } = this;
    const { what, session, atMs } = input;
    const index = this.endpoints.ensure(input.endpoint).index;
    if (what === 'opened') {
      const entry = sessions.open(input, index);
      sessions.table.columns.buddy[entry.handle] =
        input.buddy === undefined ? -1 : this.endpoints.ensure(input.buddy).index;
      return;
    }
    const entry = sessions.get(session);
    if (entry === undefined) return;
    if (what === 'ended') {
      pending.settle(session);
      this.ledger.end(sessions.end(session, atMs, input.end));
    } else if (what === 'moved') {
      this.noteMove(entry.handle, index, atMs);
      sessions.move(entry, index, atMs);
      // Whoever kept a copy kept it for the owner before.
      sessions.table.columns.buddy[entry.handle] = -1;
      if (pending.settle(session)) this.brake({ t: 'move', atMs, outcome: 'committed' }, outputs);
    } else if (what === 'reverted') {
      if (pending.settle(session, atMs)) this.brake({ t: 'move', atMs, outcome: 'reverted' }, outputs);
    } else if (what === 'refused') pending.settle(session, atMs);
    else sessions.setFlag(entry, SESSION_PINNED, what === 'pinned');
  }

  /** Its load is counted back, whoever moved it. */
  private noteMove(handle: number, to: number, atMs: number): void {
    const { endpoint, load, lifeS } = this.sessions.table.columns;
    const from = endpoint[handle]!;
    if (from < 0 || from === to) return;
    const lifeMs = Math.max(1, lifeS[handle]!) * 1000;
    this.ledger.add({ session: handle, from, to, load: load[handle]!, atMs, lifeMs });
  }

  private observe(outputs: EngineOutput[]): void {
    const { endpoints, nowMs } = this;
    const demand = this.requestsByEndpoint();
    const flows = this.ledger.flows(nowMs, (handle) => this.presentLoadOf(handle, demand));
    const news = this.loads.observe(endpoints, nowMs, flows, (e) => demand[e]!);
    outputs.push(...this.newsOf(news, nowMs));
    if (this.loads.hasRestarted) {
      this.loads.hasRestarted = false;
      outputs.push(this.event('cold-start', nowMs, `${endpoints.count} endpoints: forecasts start anew`));
    }
    if (this.loads.isModelRefused) {
      this.loads.isModelRefused = false;
      outputs.push(this.event('cold-start', nowMs, 'the stored model is damaged or of another version'));
    }
    for (const entry of endpoints.entries) {
      const isUncertain = endpoints.isUncertain(entry, nowMs);
      this.failures.assess(entry.index, isUncertain ? undefined : entry.metrics);
      this.noteUncertain(entry.name, isUncertain && !Number.isNaN(entry.metricsAtMs), outputs);
    }
    this.failures.next();
  }

  /** CPUs a session takes now, by its share of its endpoint's requests; undefined while that is not known. */
  private presentLoadOf(handle: number, demand: Float64Array): number | undefined {
    const { columns, requestsPerSec } = this.sessions.table;
    const e = columns.endpoint[handle]!;
    const entry = this.endpoints.entries[e];
    const asked = entry === undefined ? Number.NaN : this.loads.demandOf(entry);
    if (!(asked >= 0) || !(demand[e]! > 0)) return undefined;
    return (asked * requestsPerSec[handle]!) / demand[e]!;
  }

  private noteUncertain(name: string, isUncertain: boolean, outputs: EngineOutput[]): void {
    if (this.uncertain.has(name) === isUncertain) return;
    if (isUncertain) this.uncertain.add(name);
    else this.uncertain.delete(name);
    const text = isUncertain
      ? `${name} does not report: uncertain, takes no sessions`
      : `${name} reports again`;
    outputs.push(this.event('uncertain', this.nowMs, text));
  }

  private requestsByEndpoint(): Float64Array {
    const { table } = this.sessions;
    const sums = new Float64Array(this.endpoints.count);
    for (let s = 0; s < this.sessions.span; s++) {
      const e = table.columns.endpoint[s]!;
      if (e >= 0) sums[e] = sums[e]! + table.requestsPerSec[s]!;
    }
    return sums;
  }

  private judge(outputs: EngineOutput[]): void {
    const { skill } = this.loads;
    if (skill === undefined || this.ticks % JUDGE_TICKS !== 0) return;
    const { gain = 0 } = skill;
    if (gain < 0 && gain > -immaterialLoss(this.options.objective.enterScore)) return;
    this.govern({ t: 'skill', skill }, outputs);
  }

  private govern(input: GovernorInput, outputs: EngineOutput[]): void {
    const { state, events } = stepGovernor(this.governor, input);
    this.governor = state;
    for (const event of events) {
      if (event.t === 'modeChanged')
        outputs.push(this.event('mode', this.nowMs, `mode ${event.from} → ${event.to}`));
      else {
        const text = `Brier skill ${event.skill.toFixed(3)} against the reactive rule`;
        outputs.push(
          event.t === 'fellBack'
            ? this.event('fell-back', this.nowMs, `${text}: the reactive rule decides`)
            : this.event('returned', this.nowMs, `${text}: the forecast decides again`),
        );
      }
    }
  }

  private brake(input: BrakeInput, outputs: EngineOutput[]): void {
    const { state, events } = stepBrakes(this.brakes, input, this.options.brakes);
    this.brakes = state;
    for (const { t, reason } of events) {
      const name = t === 'pulled' ? 'brake-pulled' : 'brake-released';
      outputs.push({ ...this.event(name, input.atMs, `brake ${reason} ${t}`), brake: reason });
    }
  }

  private setMode(input: Extract<EngineInput, { kind: 'mode' }>): EngineOutput[] {
    const outputs: EngineOutput[] = [];
    if (Number.isNaN(this.nowMs)) this.nowMs = input.atMs;
    this.govern({ t: 'mode', mode: input.mode }, outputs);
    this.brake({ t: 'mode', atMs: input.atMs, off: input.mode === 'off' }, outputs);
    if (input.mode !== 'act') {
      this.pending.clear();
      this.tellVerdicts(outputs);
    }
    return outputs;
  }

  private plan(outputs: EngineOutput[]): void {
    const { options, nowMs } = this;
    const live = this.builder.build(nowMs);
    this.live = live;
    const { mode, rule } = this.governor;
    const governor =
      options.rule === 'reactive' && rule === 'predictive'
        ? { ...this.governor, rule: 'reactive' as const }
        : this.governor;
    const room = movesAllowed(this.brakes, nowMs, options.brakes) - this.pending.moves.size;
    const round = planRound({
      fleet: live.fleet,
      objective: {
        ...options.objective,
        maxMoves: Math.max(
          0,
          Math.min(options.objective.maxMoves, mode === 'act' ? room : Number.POSITIVE_INFINITY),
        ),
      },
      governor,
      brakes: this.brakes,
      brakeLimits: options.brakes,
      nowMs,
      presentLoad: live.presentLoad,
      presentSessionLoad: live.presentSessionLoad,
      reactiveTrigger: options.reactiveTrigger,
    });
    this.lastDetail = round.plan;
    if (round.plan === undefined) {
      this.lastPlan = undefined;
      return;
    }
    this.builder.relieving = round.plan.relieving;
    this.builder.relievingClasses = round.plan.relievingClasses;
    const plan: PlanOutput = {
      kind: 'plan',
      atMs: nowMs,
      planId: ++this.planId,
      disposition: round.disposition,
      rule: round.rule,
      moves: this.toMoves(round.plan),
      ...this.missingOf(round.plan),
    };
    this.lastPlan = plan;
    this.noteInsufficient(plan, outputs);
    if (plan.disposition === 'ask' && plan.moves.length > 0) this.keepForAccept(plan);
    if (plan.disposition === 'move') this.give(plan.moves);
    outputs.push(plan);
  }

  private toMoves(plan: Plan): EngineMove[] {
    const places = this.endpoints.entries.map((entry) => this.placesOf(entry.index));
    const moves: EngineMove[] = [];
    plan.moves.forEach((move, i) => {
      if (places[move.to]!-- <= 0) return;
      moves.push({
        session: this.sessions.idOf(move.session),
        from: this.endpoints.entries[move.from]!.name,
        to: this.endpoints.entries[move.to]!.name,
        score: move.score,
        scoreThere: move.scoreThere,
        gain: move.gain,
        cost: move.cost,
        money: move.money,
        deadlineAtMs: this.nowMs + move.deadlineS * 1000,
        // The list is in order; the queue of the coordinator wants a number.
        priority: plan.moves.length - i,
        reasons: move.reasons,
      });
    });
    return moves;
  }

  /** Sessions an endpoint may still be given by its configured capacity. */
  private placesOf(e: number): number {
    const { capacitySessions } = this.endpoints.entries[e]!.fleet;
    if (capacitySessions === undefined) return Number.POSITIVE_INFINITY;
    const { endpoint } = this.sessions.table.columns;
    let used = 0;
    for (let s = 0; s < this.sessions.span; s++) if (endpoint[s] === e) used++;
    for (const { to } of this.pending.moves.values()) if (to === e) used++;
    return capacitySessions - used;
  }

  private missingOf(plan: Plan): Pick<PlanOutput, 'insufficientCapacity'> {
    const lacking = plan.insufficientCapacity;
    if (lacking === undefined) return {};
    const endpoints = lacking.endpoints.map((e) => this.endpoints.entries[e]!.name);
    return { insufficientCapacity: { missing: lacking.missing, endpoints } };
  }

  private noteInsufficient(plan: PlanOutput, outputs: EngineOutput[]): void {
    const lacking = plan.insufficientCapacity;
    if (lacking !== undefined && !this.wasInsufficient) {
      const text = `${lacking.missing.toFixed(2)} CPUs of load on ${lacking.endpoints.join(', ')} find no place`;
      outputs.push(this.event('insufficient-capacity', this.nowMs, text));
    }
    this.wasInsufficient = lacking !== undefined;
  }

  private keepForAccept(plan: PlanOutput): void {
    this.plans.set(plan.planId, plan);
    if (this.plans.size > MAX_PLANS) {
      for (const oldest of this.plans.keys()) {
        this.plans.delete(oldest);
        break;
      }
    }
  }

  /** An operator said yes: what of the plan still holds is carried out. */
  private accept(planId: number, atMs: number): EngineOutput[] {
    const plan = this.plans.get(planId);
    if (plan === undefined || this.governor.mode === 'off' || this.brakes.reasons.length > 0) return [];
    this.plans.delete(planId);
    const { endpoint } = this.sessions.table.columns;
    const moves = plan.moves.filter(({ session, from, to }) => {
      const entry = this.sessions.get(session);
      if (entry === undefined || this.pending.moves.has(session)) return false;
      const isThere = endpoint[entry.handle] === this.endpoints.ensure(from).index;
      return isThere && this.endpoints.ensure(to).fleet.accepts;
    });
    const outputs: EngineOutput[] = [{ ...plan, atMs, disposition: 'move', moves }];
    this.give(moves);
    this.tellVerdicts(outputs);
    return outputs;
  }

  private give(moves: readonly EngineMove[]): void {
    this.pending.add(moves, (name) => this.endpoints.ensure(name).index, this.nowMs);
  }

  /** Every endpoint with moves to make, and those that had some before, hear the whole truth about their sessions. */
  private tellVerdicts(outputs: EngineOutput[]): void {
    const bySource = new Map<string, { session: string; target: string }[]>();
    for (const [session, { source, target }] of this.pending.moves) {
      const list = bySource.get(source) ?? [];
      list.push({ session, target });
      bySource.set(source, list);
    }
    const concerned = new Set([...this.told, ...bySource.keys()]);
    this.told = new Set(bySource.keys());
    if (concerned.size === 0) return;
    // By the clock and not by one: after a cold start endpoints still know a generation of the engine before.
    this.generation = Math.max(this.generation + 1, Math.floor(this.nowMs));
    const expiresInMs = this.options.verdictPeriods * this.options.periodMs;
    for (const endpoint of concerned) {
      const verdicts = bySource.get(endpoint) ?? [];
      outputs.push({ kind: 'verdicts', endpoint, generation: this.generation, expiresInMs, verdicts });
    }
  }

  private newsOf(news: readonly ModelNews[], atMs: number): EventOutput[] {
    const texts = {
      trained: 'a new model runs in shadow',
      promoted: 'the model in shadow was better and is active now',
      discarded: 'the model in shadow was not better',
    } as const;
    return news.map((n) => this.event(`model-${n}`, atMs, texts[n]));
  }

  private event(name: EngineEventName, atMs: number, text: string): EventOutput {
    return { kind: 'event', atMs, name, text };
  }
}
