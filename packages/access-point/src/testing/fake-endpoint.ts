/**
 * An endpoint process without sockets, by the rules of @restitch/endpoint (source-moves.ts, target-moves.ts): what a
 * model test needs to see who would emit. What it promises is test/integration/endpoint/endpoint-contract.ts, which also runs
 * on the real one.
 */
import { RestitchError } from '@restitch/core';
import { formatFlow } from '@restitch/core';
import type { Flow } from '@restitch/core';
import {
  assertOffered,
  imageFeatures,
  plainImageNeeds,
  protocolVersion,
  toFailure,
} from '@restitch/wire/internal';
import type {
  Closing,
  FromEndpoint,
  SessionReport,
  ToEndpoint,
  EndpointRequest,
  Reply,
  ReplyTo,
} from '@restitch/wire/internal';

/** One copy of a session. Only a live one emits. */
export interface Copy {
  readonly id: string;
  readonly flow: Flow;
  epoch: number;
  phase: 'live' | 'frozen';
  /** Its application has ended it. */
  closing?: Closing | undefined;
}

/** Connections in the kernel of a host that no session belongs to, by flow: bytes their clients have not acknowledged. */
export type FakeKernel = Map<string, number>;

interface SourceMove {
  readonly sessionId: string;
  readonly target: string;
  phase: 'prepared' | 'frozen';
  epoch: number;
}

interface Reservation {
  readonly sessionId: string;
  readonly flow: Flow;
  readonly epoch: number;
  closing?: Closing | undefined;
}

/** What leaves an endpoint process. */
export interface EndpointPorts {
  readonly toAccessPoint: (message: FromEndpoint) => void;
  readonly toPeer: (target: string, image: FakeImage) => void;
  /** Whether the next freeze finds the session busy, the next thaw fails, or the next question for the residue is refused. */
  readonly mishap: (what: 'busy' | 'thaw' | 'prepare' | 'freeze' | 'residue') => boolean;
  /** Whether the session's client has closed: it answers whoever wakes for it with a reset. */
  readonly isClientGone: (sessionId: string) => boolean;
}

/** What travels between two endpoints. */
export interface FakeImage {
  readonly moveId: string;
  readonly sessionId: string;
  readonly flow: Flow;
  readonly epoch: number;
  readonly closing?: Closing | undefined;
}

/** What all fake endpoints run, and under which listener. */
const fakeApp = { name: 'fake', version: '1' };
const fakeListener = 'main';
/** The vip all fake endpoints serve. */
export const fakeVip = { address: '10.0.0.100', port: 7000 };

/** One process; a restarted endpoint is another object. */
export class FakeEndpoint {
  readonly name: string;
  readonly instance: string;
  readonly copies = new Map<string, Copy>();
  readonly moves = new Map<string, SourceMove>();
  readonly reserved = new Map<string, Reservation>();
  readonly pending = new Map<string, Reservation>();
  readonly pinned = new Set<string>();
  /** What it can do with images. */
  features: readonly string[] = imageFeatures;
  /** Outlives the process. */
  readonly kernel: FakeKernel;
  readonly #finished = new Map<
    string,
    'activated' | 'aborted' | 'failed' | 'reverted' | 'released' | 'ended'
  >();
  readonly #knownEpochs = new Map<string, number>();
  readonly #ports: EndpointPorts;

  constructor(name: string, instance: string, ports: EndpointPorts, kernel: FakeKernel = new Map()) {
    this.kernel = kernel;
    this.name = name;
    this.instance = instance;
    this.#ports = ports;
  }

  hello(): FromEndpoint {
    return {
      t: 'hello',
      protocol: protocolVersion,
      name: this.name,
      instance: this.instance,
      app: fakeApp,
      stateAddress: { address: '127.0.0.1', port: 9000 },
      dataAddress: '10.0.0.1',
      listeners: [{ name: fakeListener, vip: fakeVip }],
      features: [...this.features],
    };
  }

  announce(): FromEndpoint {
    return { t: 'announce', sessions: this.#reports(), last: true };
  }

  /** A client connects. */
  open(id: string, flow: Flow): void {
    this.copies.set(id, { id, flow, epoch: 0, phase: 'live' });
    this.#ports.toAccessPoint({
      t: 'opened',
      sessions: [{ id, flow, epoch: 0, phase: 'live', openedAtMs: 1 }],
    });
  }

  /**
   * Its application ends it, or with `hasApplication` its output only; the client has not acknowledged `tailBytes`. False if
   * there is nothing to end.
   */
  close(
    id: string,
    tailBytes: number,
    finisher: Closing['finisher'] = 'successor',
    more: { readonly hasApplication?: true } = {},
  ): boolean {
    const copy = this.copies.get(id);
    if (copy?.phase !== 'live') return false;
    copy.closing = { tailBytes, finisher, ...more };
    const { flow, epoch, closing } = copy;
    this.#ports.toAccessPoint({ t: 'closing', sessions: [{ id, flow, epoch, closing }] });
    return true;
  }

  /** The process is about to leave, or not after all. */
  leave(on: boolean, deadlineMs = 30_000): void {
    this.#ports.toAccessPoint({ t: 'leaving', on, deadlineMs });
  }

  /** The process dies: its kernel keeps what it delivers by itself. */
  die(): void {
    for (const { flow, phase, closing } of this.copies.values()) {
      if (phase === 'live' && closing?.finisher === 'kernel')
        this.kernel.set(formatFlow(flow), closing.tailBytes);
    }
  }

  /** The client goes away; a frozen session does not hear of it. */
  end(id: string): boolean {
    const copy = this.copies.get(id);
    if (copy?.phase !== 'live') return false;
    this.copies.delete(id);
    for (const [moveId, move] of this.moves) {
      if (move.sessionId !== id) continue;
      this.moves.delete(moveId);
      this.#finished.set(moveId, 'ended');
    }
    this.#knownEpochs.set(id, copy.epoch);
    this.#ports.toAccessPoint({
      t: 'ended',
      sessions: [{ id, flow: copy.flow, epoch: copy.epoch, reason: 'closed' }],
    });
    return true;
  }

  /** The control connection is gone: what is not frozen is called off. */
  linkLost(): void {
    for (const [moveId, move] of this.moves) if (move.phase === 'prepared') this.moves.delete(moveId);
  }

  /** A message of the access point. */
  take(message: ToEndpoint): void {
    if (!('rq' in message)) return;
    try {
      this.#ports.toAccessPoint({ t: 'reply', re: message.rq, ok: true, data: this.#answer(message) });
      if (message.t === 'activate') {
        this.#ports.toAccessPoint({ t: 'confirmed', moveId: message.moveId, serverRtos: 0 });
      }
      for (const id of this.copies.keys()) if (this.#ports.isClientGone(id)) this.end(id);
    } catch (error) {
      this.#ports.toAccessPoint({ t: 'refusal', re: message.rq, failure: toFailure(error as RestitchError) });
    }
  }

  /** An image of a source arrives. */
  takeImage({ moveId, sessionId, flow, epoch, closing }: FakeImage): void {
    const reservation = this.reserved.get(moveId);
    if (reservation === undefined || reservation.epoch !== epoch) return;
    this.reserved.delete(moveId);
    const isOther = reservation.sessionId !== sessionId || formatFlow(reservation.flow) !== formatFlow(flow);
    if (isOther || this.#ports.mishap('thaw')) {
      this.#finished.set(moveId, 'failed');
      const code = isOther ? 'forbidden' : 'thaw_failed';
      this.#ports.toAccessPoint({ t: 'thaw-failed', moveId, failure: { code, message: 'not rebuilt here' } });
      return;
    }
    reservation.closing = closing;
    this.pending.set(moveId, reservation);
    this.#ports.toAccessPoint({ t: 'thawed', moveId, thawUs: 1 });
  }

  #answer(message: EndpointRequest): Reply {
    switch (message.t) {
      case 'reserve':
        return this.#reserve(message);
      case 'prepare':
        return this.#prepare(message);
      case 'freeze':
        return this.#freeze(message.moveId, message.epoch);
      case 'activate':
        return this.#activate(message.moveId, message.epoch);
      case 'abort':
        return this.#abort(message.moveId);
      case 'revert':
        return this.#revert(message.moveId);
      case 'release':
        return this.#release(message.moveId);
      case 'query':
        return { owned: message.flows.map((f) => this.#owns(f)) };
      case 'reset':
        return { reset: message.sessionIds.filter((id) => this.end(id)).length };
      case 'residue':
        return this.#residue();
      case 'stats':
        return { sessions: [] };
      default:
        throw new RestitchError('forbidden', `${message.t} is not played here`);
    }
  }

  #reserve(m: Extract<ToEndpoint, { t: 'reserve' }>): ReplyTo<'reserve'> {
    if (this.reserved.has(m.moveId) || this.pending.has(m.moveId))
      throw new RestitchError('message_invalid', 'reserved already');
    const isOurs = m.app.name === fakeApp.name && m.app.version === fakeApp.version;
    if (m.listener !== fakeListener || (m.isClosing !== true && !isOurs))
      throw new RestitchError('app_refused', 'not served here');
    const copy = this.copies.get(m.sessionId);
    if (m.epoch <= Math.max(copy?.epoch ?? -1, this.#knownEpochs.get(m.sessionId) ?? -1))
      throw new RestitchError('stale_epoch', 'known');
    if (copy !== undefined) throw new RestitchError('session_moving', 'served here already');
    this.reserved.set(m.moveId, { sessionId: m.sessionId, flow: m.flow, epoch: m.epoch });
    return { features: [...this.features] };
  }

  #prepare(message: Extract<ToEndpoint, { t: 'prepare' }>): ReplyTo<'prepare'> {
    const { moveId, sessionId, force } = message;
    const copy = this.copies.get(sessionId);
    if (copy === undefined) throw new RestitchError('unknown_session', 'not here');
    const [known] = [...this.moves].find(([, move]) => move.sessionId === sessionId) ?? [];
    if (known !== undefined && known !== moveId) throw new RestitchError('session_moving', 'in another move');
    if (known !== undefined && copy.phase !== 'live')
      throw new RestitchError('message_invalid', 'frozen already');
    if (known !== undefined) return {};
    if (this.pinned.has(sessionId) && force !== true)
      throw new RestitchError('session_pinned', 'pinned here');
    assertOffered(plainImageNeeds, message.target.features, {
      session: sessionId,
      target: message.target.name,
    });
    if (this.#ports.mishap('prepare')) throw new RestitchError('socket_unsupported', 'as the test wants');
    this.moves.set(moveId, { sessionId, target: message.target.name, phase: 'prepared', epoch: 0 });
    return {};
  }

  #freeze(moveId: string, epoch: number): ReplyTo<'freeze'> {
    const move = this.moves.get(moveId);
    const copy = this.copies.get(move?.sessionId ?? '');
    if (this.#finished.get(moveId) === 'ended') throw new RestitchError('unknown_session', 'it has ended');
    if (move?.phase !== 'prepared' || copy === undefined)
      throw new RestitchError('message_invalid', 'not prepared');
    if (epoch <= copy.epoch) throw new RestitchError('stale_epoch', 'not higher');
    if (this.#ports.mishap('busy')) throw new RestitchError('session_busy', 'as the test wants');
    if (this.#ports.mishap('freeze')) throw new RestitchError('freeze_failed', 'as the test wants');
    move.phase = 'frozen';
    move.epoch = epoch;
    copy.phase = 'frozen';
    const { id: sessionId, flow, closing } = copy;
    this.#ports.toPeer(move.target, { moveId, sessionId, flow, epoch, closing });
    return { imageBytes: 100, freezeUs: 1 };
  }

  #activate(moveId: string, epoch: number): ReplyTo<'activate'> {
    const pending = this.pending.get(moveId);
    if (pending === undefined) {
      if (this.#finished.get(moveId) === 'activated') return {};
      throw new RestitchError('message_invalid', 'nothing was thawed here');
    }
    if (pending.epoch !== epoch) throw new RestitchError('stale_epoch', 'other epoch');
    this.pending.delete(moveId);
    this.#finished.set(moveId, 'activated');
    const { sessionId: id, flow, closing } = pending;
    this.copies.set(id, { id, flow, epoch, phase: 'live', closing });
    return {};
  }

  #abort(moveId: string): ReplyTo<'abort'> {
    if (this.#finished.get(moveId) === 'activated') throw new RestitchError('message_invalid', 'served here');
    this.pending.delete(moveId);
    this.reserved.delete(moveId);
    this.#finished.set(moveId, 'aborted');
    return {};
  }

  #revert(moveId: string): ReplyTo<'revert'> {
    const move = this.moves.get(moveId);
    if (move === undefined) {
      if (this.#finished.get(moveId) === 'released')
        throw new RestitchError('stale_epoch', 'released already');
      return { wasFrozen: false };
    }
    this.moves.delete(moveId);
    this.#finished.set(moveId, 'reverted');
    const copy = this.copies.get(move.sessionId);
    if (copy !== undefined) copy.phase = 'live';
    return { wasFrozen: move.phase === 'frozen' };
  }

  #release(moveId: string): ReplyTo<'release'> {
    if (this.#finished.get(moveId) === 'released') return {};
    const move = this.moves.get(moveId);
    if (move?.phase !== 'frozen') throw new RestitchError('message_invalid', 'not frozen');
    this.moves.delete(moveId);
    this.#finished.set(moveId, 'released');
    this.copies.delete(move.sessionId);
    this.#knownEpochs.set(move.sessionId, move.epoch);
    return {};
  }

  #residue(): ReplyTo<'residue'> {
    if (this.#ports.mishap('residue')) throw new RestitchError('message_invalid', 'as the test wants');
    const tails = [...this.copies.values()].map((copy) => copy.closing?.tailBytes ?? 0);
    const owing = [...tails, ...this.kernel.values()].filter((bytes) => bytes > 0);
    return { sockets: owing.length, bytes: owing.reduce((sum, bytes) => sum + bytes, 0) };
  }

  #owns(flow: Flow): boolean {
    if (this.kernel.has(formatFlow(flow))) return true;
    const held = [...this.copies.values(), ...this.pending.values()];
    return held.some((c) => c.flow.client.port === flow.client.port);
  }

  #reports(): SessionReport[] {
    const own = [...this.copies.values()].map((copy): SessionReport => {
      const { id, flow, epoch, closing } = copy;
      const phase: SessionReport['phase'] =
        copy.phase === 'live' && closing && !closing.hasApplication ? 'closing' : copy.phase;
      const told = closing === undefined ? {} : { closing };
      const base = { id, flow, epoch, phase, openedAtMs: 1, ...told };
      const move = [...this.moves].find(([, m]) => m.sessionId === copy.id && m.phase === 'frozen');
      return move === undefined ? base : { ...base, moveId: move[0] };
    });
    const pending: SessionReport[] = [...this.pending].map(([moveId, p]) => {
      const { sessionId: id, flow, epoch, closing } = p;
      const told = closing === undefined ? {} : { closing };
      return { id, flow, epoch, phase: 'pending', moveId, openedAtMs: 1, ...told };
    });
    return [...own, ...pending];
  }
}
