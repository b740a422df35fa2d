/**
 * One move under way: feeds events to the life cycle's table and performs what the table says.
 *
 * Everything a move needs from outside stands in `MoveContext`, so a test can play the endpoints and the map.
 */
import { RestitchError } from '@restitch/core';
import type { Flow } from '@restitch/core';
import type { FlowChange, FlowChangeResult } from '@restitch/dataplane';
import type { Reply } from '@restitch/wire/internal';
import type { Endpoint } from '../model/endpoint-registry.js';
import type { NumberlessRequest, ReplyListener } from '../model/endpoint-link.js';
import { holdStates, isMoveOutcome, lifeCycle, nextMoveState, stepOfState } from '../model/life-cycle.js';
import type { MoveAction, MoveDeadline, MoveEvent, MoveOutcome, MoveState } from '../model/life-cycle.js';
import type { MoveContext } from './move-context.js';
import type { MoveFailure, MoveOrigin, MoveUnderWay } from '../model/move-under-way.js';
import { isThrough } from '../model/session-registry.js';
import type { Session } from '../model/session-registry.js';

/** Between hold and the first byte from the target, every millisecond is one the client waits. */
const urgentMessages: ReadonlySet<string> = new Set(['freeze', 'activate', 'revert']);

/** A move; all fields are for reading, `post` is the only way in. */
export class Move implements MoveUnderWay {
  readonly id: string;
  readonly session: Session;
  readonly flow: Flow;
  readonly source: Endpoint;
  readonly target: Endpoint;
  readonly fromEpoch: number;
  readonly epoch: number;
  readonly startedAtMs: number;
  readonly startedNs: bigint;
  origin: MoveOrigin = 'manual';
  /** Pins and busy tokens do not hinder it. */
  isForced = false;
  /** CLOCK_MONOTONIC around the time packets were kept; 0n before. */
  holdNs = 0n;
  switchNs = 0n;
  confirmedNs = 0n;
  endedNs = 0n;
  failure: MoveFailure | undefined;
  isUnconfirmed = false;
  busyTries = 0;
  /** Figures the endpoints reported: freezeUs, thawUs, imageBytes, serverRtos. */
  readonly figures: Record<string, number> = {};
  /** States gone through with CLOCK_MONOTONIC milliseconds. */
  readonly steps: Array<{ readonly state: MoveState; readonly atMs: number }> = [];

  #state: MoveState = 'reserving';
  #cancelTimer: (() => void) | undefined;
  /** Counts requests to a party, so that the answer to a request given up is not taken for that to the next. */
  #sourceTurn = 0;
  #targetTurn = 0;
  #targetLink: Endpoint['link'];
  /** What the target can do with an image, as it said when it gave a place. */
  #targetFeatures: readonly string[] = [];
  #parked: Array<() => void> | undefined;
  readonly #context: MoveContext;

  constructor(context: MoveContext, id: string, session: Session, target: Endpoint) {
    this.#context = context;
    this.id = id;
    this.session = session;
    this.flow = session.flow;
    this.source = session.owner;
    this.target = target;
    this.fromEpoch = session.epoch;
    this.epoch = session.lastEpoch + 1;
    session.lastEpoch = this.epoch;
    this.startedAtMs = context.clock.wallMs();
    this.startedNs = context.clock.monotonicNs();
  }

  get state(): MoveState {
    return this.#state;
  }

  get outcome(): MoveOutcome | undefined {
    return isMoveOutcome(this.#state) ? this.#state : undefined;
  }

  /** The record names an owner that serves, or the move never came to hold it. */
  get isHoldOver(): boolean {
    return this.#state !== 'activating' && this.#state !== 'awaiting-target' && !holdStates.has(this.#state);
  }

  get isPaused(): boolean {
    return this.#parked !== undefined;
  }

  /** Asks the target for a place; all else follows from events. */
  start(): void {
    this.steps.push({ state: 'reserving', atMs: this.#context.clock.monotonicMs() });
    const { flow, source, target } = this;
    const listener = source.listenerFor(flow.vip) ?? target.listenerFor(flow.vip);
    if (source.hello === undefined || listener === undefined) {
      this.post('source-lost', peerLost(source));
      return;
    }
    this.#armDeadline();
    this.#targetLink = target.link;
    this.#askTarget(
      {
        t: 'reserve',
        moveId: this.id,
        sessionId: this.session.id,
        flow,
        epoch: this.epoch,
        source: source.name,
        app: source.hello.app,
        listener,
        expiresMs: this.#lifetimeMs(),
        ...(isThrough(this.session) ? { isClosing: true } : {}),
      },
      'reserved',
    );
  }

  /** Something happened. `error` says why, where there is a why. False if it meant nothing to this move. */
  post(event: MoveEvent, error?: RestitchError): boolean {
    if (this.#parked !== undefined) {
      this.#parked.push(() => void this.post(event, error));
      return true;
    }
    if (event === 'confirmed' && this.confirmedNs === 0n)
      this.confirmedNs = this.#context.clock.monotonicNs();
    const next = nextMoveState(this.#state, event);
    if (next === 'ignored') return false;
    if (next === 'impossible') {
      this.#context.counters.add('move_impossible_event_total');
      this.#context.counters.add(`move_impossible_${this.#state}_${event}_total`);
      return false;
    }
    if (error !== undefined || event === 'deadline' || event === 'cancel') this.#noteFailure(event, error);
    this.#setState(next.to, next.act);
    return true;
  }

  /** Laboratory: goes on from where it was paused. */
  resume(): void {
    const parked = this.#parked;
    this.#parked = undefined;
    for (const run of parked ?? []) run();
  }

  #setState(to: MoveState, act: readonly MoveAction[]): void {
    if (this.#context.isPausedAt?.(this, to) === true && this.#parked === undefined) {
      this.#cancelTimer?.();
      this.#cancelTimer = undefined;
      this.#parked = [() => this.#enter(to, act)];
      return;
    }
    this.#enter(to, act);
  }

  #enter(to: MoveState, act: readonly MoveAction[]): void {
    const before = this.#state;
    this.#state = to;
    this.steps.push({ state: to, atMs: this.#context.clock.monotonicMs() });
    const deadlineChanges =
      this.#cancelTimer === undefined ||
      isMoveOutcome(to) ||
      isMoveOutcome(before) ||
      to === 'holding' ||
      lifeCycle[to].deadline !== lifeCycle[before].deadline ||
      lifeCycle[to].deadline !== 'budget';
    if (deadlineChanges) this.#armDeadline();
    for (const action of act) this.#perform(action);
    const isBehind = holdStates.has(before) || before === 'waiting';
    if (isBehind && !holdStates.has(to) && this.#state === to) this.#context.leaveAdmission(this);
    if (isMoveOutcome(to)) this.#end();
  }

  #end(): void {
    this.endedNs = this.#context.clock.monotonicNs();
    this.#context.onEnd(this);
  }

  #armDeadline(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    if (isMoveOutcome(this.#state)) return;
    const kind = lifeCycle[this.#state].deadline;
    this.#cancelTimer = this.#context.clock.after(this.#deadlineMs(kind), () => void this.post('deadline'));
  }

  #deadlineMs(kind: MoveDeadline): number {
    const { budgetMs, busyPauseMs, deadlines: d } = this.#context.policy();
    if (kind === 'budget') return budgetMs;
    return kind === 'backOff' ? busyPauseMs : d[`${kind}Ms`];
  }

  #lifetimeMs(): number {
    const { budgetMs, busyPauseMs, busyRetries, deadlines: d } = this.#context.policy();
    const tries = busyRetries + 1;
    return d.reserveMs + d.prepareMs + tries * (d.prepareMs + budgetMs + busyPauseMs) + d.activateMs;
  }

  #noteFailure(event: MoveEvent, error: RestitchError | undefined): void {
    if (this.failure !== undefined || isMoveOutcome(this.#state)) return;
    if (this.#state === 'releasing' || event === 'busy') return;
    if (this.#state === 'backing-off' && event === 'deadline') return;
    const step = stepOfState[this.#state];
    this.failure = {
      step,
      code: error?.code ?? (event === 'cancel' ? 'closed' : 'deadline_exceeded'),
      message: error?.message ?? (event === 'cancel' ? 'given up by the operator' : `${step} took too long`),
    };
  }

  #perform(action: MoveAction): void {
    const { source, target, id: moveId } = this;
    switch (action) {
      case 'send-prepare':
        this.#sendPrepare();
        return;
      case 'ask-admission':
        this.#context.askAdmission(this);
        return;
      case 'hold':
        this.#hold();
        return;
      case 'send-freeze':
        this.#askSource(
          { t: 'freeze', moveId, epoch: this.epoch, budgetMs: this.#context.policy().budgetMs },
          'frozen',
        );
        return;
      case 'mark-frozen':
        this.#change({
          op: 'freeze',
          flow: this.flow,
          epoch: this.fromEpoch,
          deadlineNs: this.#frozenUntilNs(),
        });
        return;
      case 'switch':
        this.#switch();
        return;
      case 'send-activate':
        this.#askTarget({ t: 'activate', moveId, epoch: this.epoch }, 'activated');
        return;
      case 'release-hold':
        this.#change({
          op: 'release',
          flow: this.flow,
          epoch: this.switchNs > 0n ? this.epoch : this.fromEpoch,
        });
        return;
      case 'send-release':
        this.#askSource({ t: 'release', moveId }, 'released');
        return;
      case 'send-abort':
        this.#targetTurn++;
        target.link?.request({ t: 'abort', moveId }, () => undefined);
        return;
      case 'send-revert':
        this.#askSource({ t: 'revert', moveId }, 'reverted');
        return;
      case 'mark-unconfirmed':
        this.isUnconfirmed = true;
        return;
      case 'drop-source':
        source.link?.close(this.#tooSlow(source, 'release or revert'));
        return;
      case 'drop-target':
        target.link?.close(this.#tooSlow(target, 'activate'));
    }
  }

  #tooSlow(endpoint: Endpoint, what: string): RestitchError {
    return new RestitchError(
      'deadline_exceeded',
      `${endpoint.name} does not answer ${what} of move ${this.id}`,
    );
  }

  #sendPrepare(): void {
    const address = this.target.hello?.stateAddress;
    if (address === undefined) {
      this.post('target-lost', peerLost(this.target));
      return;
    }
    const budgetMs = this.#context.policy().deadlines.prepareMs;
    this.#askSource(
      {
        t: 'prepare',
        moveId: this.id,
        sessionId: this.session.id,
        target: { name: this.target.name, address, features: [...this.#targetFeatures] },
        budgetMs,
        ...(this.isForced ? { force: true } : {}),
      },
      'prepared',
    );
  }

  #hold(): void {
    const { clock } = this.#context;
    const budgetMs = this.#context.policy().budgetMs;
    const deadlineNs = clock.monotonicNs() + BigInt(Math.round(budgetMs * 1e6));
    this.#change({ op: 'hold', flow: this.flow, epoch: this.fromEpoch, deadlineNs }, (result, beganNs) => {
      this.holdNs = beganNs;
      if (result === 'ok') this.post('held');
      else this.post('hold-refused', recordRefused('hold', this.flow, result));
    });
  }

  #switch(): void {
    const { flow, fromEpoch, epoch, target } = this;
    // Not to a process that is known to be gone, even if another has taken its name.
    if (target.link === undefined || target.link !== this.#targetLink) {
      this.post('switch-refused', peerLost(target));
      return;
    }
    if (!this.#context.mayReceive(target)) {
      this.post('switch-refused', new RestitchError('peer_lost', `${target.name} is not heard in time`));
      return;
    }
    this.#change(
      { op: 'switch', flow, epoch: fromEpoch, endpointId: target.id, newEpoch: epoch },
      (result, _beganNs, endedNs) => {
        if (result !== 'ok') {
          this.post('switch-refused', recordRefused('switch', flow, result));
          return;
        }
        this.switchNs = endedNs;
        this.#context.onSwitched(this);
        this.post('switched');
      },
    );
  }

  #change(
    change: FlowChange,
    done?: (result: FlowChangeResult, beganNs: bigint, endedNs: bigint) => void,
  ): void {
    this.#context.batch.push(change, done);
  }

  /** Long enough for the switch and for a slow activation; past it BPF drops, and the client resends. */
  #frozenUntilNs(): bigint {
    const { budgetMs, deadlines } = this.#context.policy();
    return this.#context.clock.monotonicNs() + BigInt(Math.round((budgetMs + deadlines.activateMs) * 1e6));
  }

  #askSource(message: NumberlessRequest, ok: MoveEvent): void {
    const turn = ++this.#sourceTurn;
    this.#ask(this.source, message, (data) => {
      if (turn !== this.#sourceTurn) return;
      if (data === 'lost') this.post('source-lost', peerLost(this.source));
      else if (!(data instanceof RestitchError)) this.#take(data, ok);
      else if (
        ok === 'frozen' &&
        data.code === 'session_busy' &&
        this.busyTries < this.#context.policy().busyRetries
      ) {
        this.busyTries++;
        this.post('busy');
      } else this.post('source-refused', data);
    });
  }

  #askTarget(message: NumberlessRequest, ok: MoveEvent): void {
    const turn = ++this.#targetTurn;
    this.#ask(this.target, message, (data) => {
      if (turn !== this.#targetTurn) return;
      if (data === 'lost') this.post('target-lost', peerLost(this.target));
      else if (data instanceof RestitchError) this.post('target-refused', data);
      else this.#take(data, ok);
    });
  }

  #ask(party: Endpoint, message: NumberlessRequest, done: ReplyListener): void {
    if (party.link === undefined) queueMicrotask(() => done('lost'));
    else if (urgentMessages.has(message.t) || !this.#context.isCrowded()) party.link.request(message, done);
    else party.link.requestPatiently(message, done);
  }

  #take(data: Reply, event: MoveEvent): void {
    if ('features' in data) this.#targetFeatures = data.features;
    for (const [key, value] of Object.entries(data)) {
      if (typeof value === 'number') this.figures[key] = value;
    }
    this.post(event);
  }
}

/** The reason of a move that ended because a party was not there. */
function peerLost(endpoint: Endpoint): RestitchError {
  return new RestitchError('peer_lost', `the control connection to ${endpoint.name} is lost`);
}

function recordRefused(op: string, flow: Flow, result: FlowChangeResult): RestitchError {
  const where = `${flow.client.address}:${flow.client.port}`;
  const code =
    result === 'stale' ? 'stale_epoch' : result === 'absent' ? 'unknown_session' : 'session_moving';
  return new RestitchError(code, `${op} of the record of ${where}: ${result}`);
}
