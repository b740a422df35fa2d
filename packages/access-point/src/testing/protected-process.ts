/** One endpoint's process at level commit, by the rules of @restitch/endpoint: what it serves, what it keeps for others. */
import { RestitchError, formatFlow } from '@restitch/core';
import type { Flow } from '@restitch/core';
import { toFailure } from '@restitch/wire/internal';
import type { Closing, FromEndpoint, ToEndpoint, EndpointRequest, Reply } from '@restitch/wire/internal';
import { fakeVip } from './fake-endpoint.js';
import type { ProtectedWorld } from './protected-world.js';

interface Kept {
  readonly owner: string;
  readonly instance: string;
  readonly flow: Flow;
  readonly epoch: number;
}

interface Served {
  readonly flow: Flow;
  readonly epoch: number;
  readonly closing?: Closing;
}

/** A process; a restarted endpoint is another one. */
export class ProtectedProcess {
  readonly name: string;
  readonly instance: string;
  /** What it serves, and would send for while its lease runs. */
  readonly copies = new Map<string, Served>();
  /** Connections that its application has not accepted, as text: its kernel has them. */
  readonly acceptQueue = new Set<string>();
  readonly replicas = new Map<string, Kept>();
  /** Sessions whose client it was told to ask before it serves them. */
  readonly doubted = new Set<string>();
  leaseEndsMs = 0;
  isFenced = false;
  /** SIGSTOP: it says nothing and reads nothing; its kernel lives. */
  isStopped = false;
  /** It does not answer questions about flows. */
  isDeaf = false;
  /** Gets to no take-over. */
  isBusy = false;
  readonly #world: ProtectedWorld;
  readonly #beatsAtMs = new Map<number, number>();

  constructor(world: ProtectedWorld, name: string, instance: string) {
    this.#world = world;
    this.name = name;
    this.instance = instance;
  }

  hello(): FromEndpoint {
    return {
      t: 'hello',
      protocol: { major: 1, minor: 0 },
      name: this.name,
      instance: this.instance,
      app: { name: 'fake', version: '1' },
      stateAddress: { address: '127.0.0.1', port: 9000 },
      dataAddress: '10.0.0.1',
      listeners: [{ name: 'main', vip: fakeVip }],
      features: [],
      protection: { labels: {} },
    };
  }

  announce(): FromEndpoint {
    const sessions = [...this.copies].map(([id, { flow, epoch, closing }]) => {
      const base = { id, flow, epoch, openedAtMs: 1 };
      return closing === undefined
        ? { ...base, phase: 'live' as const }
        : { ...base, phase: 'closing' as const, closing };
    });
    return { t: 'announce', sessions, last: true };
  }

  heartbeat(): FromEndpoint {
    const n = this.#beatsAtMs.size + 1;
    this.#beatsAtMs.set(n, this.#world.clock.monotonicMs());
    return { t: 'heartbeat', n, sessions: this.copies.size, eventLoopDelayMs: 0 };
  }

  emits(id: string): boolean {
    return this.copies.has(id) && this.#world.clock.monotonicMs() < this.leaseEndsMs;
  }

  take(message: ToEndpoint, answer: (message: FromEndpoint) => void): void {
    if (message.t === 'lease') {
      this.leaseEndsMs = (this.#beatsAtMs.get(message.n) ?? 0) + message.leaseMs;
    } else if (message.t === 'fenced') {
      this.isFenced = true;
      this.copies.clear();
    }
    if (!('rq' in message) || (message.t === 'query' && this.isDeaf)) return;
    if (message.t === 'take-over' && this.isBusy) return;
    const re = message.rq;
    try {
      answer({ t: 'reply', re, ok: true, data: this.#answer(message) });
    } catch (error) {
      answer({ t: 'refusal', re, failure: toFailure(error as RestitchError) });
    }
  }

  #answer(message: EndpointRequest): Reply {
    if (message.t === 'query') return { owned: message.flows.map((flow) => this.#knows(formatFlow(flow))) };
    if (message.t === 'replicas') {
      const all = [...this.replicas].map(([id, kept]) => ({ id, n: 1, openedAtMs: 1, ...kept }));
      return { replicas: all.filter((r) => message.owner === undefined || r.owner === message.owner) };
    }
    if (message.t !== 'take-over') throw new RestitchError('forbidden', `${message.t} is not played here`);
    const { sessionId: id, epoch, isClientInDoubt = false } = message;
    if (isClientInDoubt) this.doubted.add(id);
    if (this.copies.get(id)?.epoch === epoch) return { takeOverUs: 0, isRepeat: true };
    const kept = this.replicas.get(id);
    if (kept === undefined || kept.epoch >= epoch) throw new RestitchError('unknown_session', 'no replica');
    this.replicas.delete(id);
    this.copies.set(id, { flow: kept.flow, epoch });
    this.#world.replicate(this, id);
    return { takeOverUs: 1 };
  }

  #knows(flow: string): boolean {
    const isOwn = [...this.copies.values()].some((copy) => formatFlow(copy.flow) === flow);
    return isOwn || this.acceptQueue.has(flow) || this.#world.kernel(this.name).has(flow);
  }
}
