/**
 * Flow records in memory with the rules of bpf/steering; survives the death of a daemon in a test. What it promises is
 * test/integration/dataplane/dataplane-contract.ts, which also runs on the real one.
 */
import { RestitchError, formatFlow } from '@restitch/core';
import type { Clock, Flow } from '@restitch/core';
import type {
  Dataplane,
  DataplaneStats,
  FlowChange,
  FlowChangeResult,
  FlowPhase,
  FlowRecord,
  ResetOutcome,
  VirtualService,
} from '@restitch/dataplane';

interface Entry {
  flow: Flow;
  endpointId: number;
  epoch: number;
  phase: FlowPhase;
  deadlineNs: bigint;
  lastSeenNs: bigint;
  sawReset: boolean;
  /** Packets that are kept, or were lost on their way to where they are kept. */
  outstanding: number;
}

/** A release is over by then, whatever has become of the packets. */
const releaseLimitNs = 50_000_000n;
/** So long packets stay behind what a hold kept that has run out. */
const holdGraceNs = 50_000_000n;
/** How often closed flows are looked after whose time is up. */
const sweepMs = 1000;

/** Where a client's packet goes. */
export type PacketFate = number | 'kept' | 'dropped' | 'to the host';

/** Pinned maps, as it were. */
export class FakeDataplane implements Dataplane {
  isAdopted = false;
  isRebuilding = true;
  services: readonly VirtualService[] = [];
  readonly targets = new Set<number>();
  readonly records = new Map<string, Entry>();
  /** Where SYNs went whose handshake is not over, by flow. */
  readonly halfOpen = new Map<string, number>();
  maxFlows = Number.POSITIVE_INFINITY;
  /** Each hold loses a packet, so that its release takes as long as a release may. */
  isLossy = false;
  /** Clients that were reset, by flow. */
  readonly resets: string[] = [];
  /** What a client answers to its reset. */
  answerOfClient: (flow: Flow) => ResetOutcome = () => 'reset';
  /** What BPF has counted of a flow, by flow. */
  readonly counted = new Map<string, { packets: bigint; bytes: bigint }>();
  /** Called after each change that went through. */
  onChange: (change: FlowChange) => void = () => undefined;
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  setRebuilding(on: boolean): void {
    this.isRebuilding = on;
  }

  setTarget(target: { endpointId: number }): void {
    this.targets.add(assertEndpointId(target.endpointId));
  }

  removeTarget(endpointId: number): void {
    assertEndpointId(endpointId);
    this.targets.delete(endpointId);
  }

  setServices(services: readonly VirtualService[]): void {
    for (const { backends } of services) for (const { endpointId } of backends) assertEndpointId(endpointId);
    this.services = services;
  }

  apply(changes: readonly FlowChange[]): FlowChangeResult[] {
    // All or nothing: what is no change at all is found before any is made.
    for (const change of changes) assertChange(change);
    return changes.map((change) => {
      const result = this.#change(change);
      if (result === 'ok') this.onChange(change);
      return result;
    });
  }

  lookup(flow: Flow): FlowRecord | undefined {
    const entry = this.records.get(formatFlow(flow));
    return entry === undefined ? undefined : this.#toRecord(entry);
  }

  resetClient(flow: Flow): Promise<ResetOutcome> {
    const phase = this.records.get(formatFlow(flow))?.phase;
    if (phase !== 'hold' && phase !== 'frozen')
      return Promise.reject(
        new RestitchError('internal', `reset of ${formatFlow(flow)}: its record is ${phase}`),
      );
    this.resets.push(formatFlow(flow));
    return Promise.resolve(this.answerOfClient(flow));
  }

  list(idleSinceNs?: bigint): FlowRecord[] {
    return [...this.records.values()]
      .filter(
        ({ lastSeenNs, sawReset }) => idleSinceNs === undefined || sawReset || lastSeenNs <= idleSinceNs,
      )
      .map((entry) => this.#toRecord(entry));
  }

  *listOf(endpointId: number): Generator<FlowRecord[], void> {
    const records = this.list().filter((record) => record.endpointId === endpointId);
    for (let i = 0; i < records.length; i += 100) yield records.slice(i, i + 100);
  }

  /** A client's packet after its SYN. One that would be kept is lost on the way. */
  packet(flow: Flow, isReset = false): PacketFate {
    const key = formatFlow(flow);
    const nowNs = this.#clock.monotonicNs();
    const entry = this.records.get(key);
    if (entry === undefined) return this.#steerUnknown(flow);
    const { phase, deadlineNs, outstanding } = entry;
    if (phase === 'closing' && nowNs >= deadlineNs) {
      this.#delete(key);
      return this.#steerUnknown(flow);
    }
    entry.sawReset ||= isReset;
    // A hold that has run out: what it kept is on its way back, fresh packets stay behind that for a moment.
    const graceNs = phase === 'hold' && outstanding > 0 ? holdGraceNs : 0n;
    if (phase === 'active' || phase === 'closing') return this.#count(entry, nowNs);
    if (nowNs < deadlineNs + graceNs) {
      entry.outstanding++;
      return 'kept';
    }
    return phase === 'frozen' ? 'dropped' : this.#count(entry, nowNs);
  }

  #steerUnknown(flow: Flow): PacketFate {
    const service = this.#serviceOf(flow);
    if (service === undefined) return 'to the host';
    if (this.isRebuilding) return 'dropped';
    return this.halfOpen.get(formatFlow(flow)) ?? service.backends[0]?.endpointId ?? 'dropped';
  }

  #serviceOf({ vip: { address, port } }: Flow): VirtualService | undefined {
    return this.services.find((s) => s.address === address && s.port === port);
  }

  #count(entry: Entry, nowNs: bigint): number {
    const key = formatFlow(entry.flow);
    const { packets, bytes } = this.counted.get(key) ?? { packets: 0n, bytes: 0n };
    entry.lastSeenNs = nowNs;
    this.counted.set(key, { packets: packets + 1n, bytes: bytes + 60n });
    return entry.endpointId;
  }

  /** A client's SYN, as bpf/steering/steering.bpf.c steers it; undefined if the service has no backend. */
  syn(flow: Flow): number | undefined {
    const key = formatFlow(flow);
    if (this.isRebuilding) return undefined;
    const known = this.halfOpen.get(key);
    if (known !== undefined) return known;
    const [first] = this.#serviceOf(flow)?.backends ?? [];
    if (first !== undefined) this.halfOpen.set(key, first.endpointId);
    return first?.endpointId;
  }

  forgetHalfOpen(endpointId: number): number {
    const found = [...this.halfOpen].filter(([, id]) => id === endpointId);
    for (const [key] of found) this.halfOpen.delete(key);
    return found.length;
  }

  stats(): DataplaneStats {
    return { verdicts: {}, endpoints: [], flows: this.records.size, heldBytes: 0, heldDropped: 0 };
  }

  close(): void {}

  destroy(): void {
    this.records.clear();
  }

  #toRecord(entry: Entry): FlowRecord {
    const counted = this.counted.get(formatFlow(entry.flow)) ?? { packets: 0n, bytes: 0n };
    const { flow, endpointId, epoch, phase, lastSeenNs, sawReset } = entry;
    return {
      flow,
      endpointId,
      epoch,
      phase,
      lastSeenNs,
      sawReset,
      holdDeadlineNs: entry.deadlineNs,
      ...counted,
    };
  }

  #change(change: FlowChange): FlowChangeResult {
    const key = formatFlow(change.flow);
    const entry = this.records.get(key);
    if (change.op === 'claim') return this.#claim(key, change, entry);
    if (entry === undefined) return 'absent';
    if (entry.epoch !== change.epoch) return 'stale';
    // A release whose deadline has passed is over.
    if (entry.phase === 'releasing' && this.#clock.monotonicNs() >= entry.deadlineNs) this.#settle(entry);
    switch (change.op) {
      case 'hold':
        if (entry.phase !== 'active' && entry.phase !== 'hold') return 'phase';
        this.#keep(entry, 'hold', change.deadlineNs);
        return 'ok';
      case 'freeze':
        if (entry.phase === 'releasing' || entry.phase === 'closing') return 'phase';
        this.#keep(entry, 'frozen', change.deadlineNs);
        return 'ok';
      case 'switch':
        if (change.newEpoch <= change.epoch) return 'stale';
        if (entry.phase !== 'hold' && entry.phase !== 'frozen') return 'phase';
        entry.endpointId = change.endpointId;
        entry.epoch = change.newEpoch;
        return 'ok';
      case 'release':
        if (entry.phase === 'closing') return 'phase';
        if (entry.phase !== 'active') this.#release(entry);
        return 'ok';
      case 'close':
        this.#close(key, entry, change.lingerMs);
        return 'ok';
      case 'remove':
        this.#delete(key);
        return 'ok';
    }
  }

  #keep(entry: Entry, phase: 'hold' | 'frozen', deadlineNs: bigint): void {
    if (this.isLossy && entry.phase === 'active') entry.outstanding++;
    entry.phase = phase;
    entry.deadlineNs = deadlineNs;
  }

  /** What is kept has gone out before `apply` returns; only what is lost is waited for. */
  #release(entry: Entry): void {
    entry.deadlineNs = this.#clock.monotonicNs() + releaseLimitNs;
    if (entry.outstanding === 0) {
      entry.phase = 'active';
      return;
    }
    entry.phase = 'releasing';
    const { deadlineNs } = entry;
    this.#clock.after(Number(releaseLimitNs / 1_000_000n), () => {
      if (entry.phase === 'releasing' && entry.deadlineNs === deadlineNs) this.#settle(entry);
    });
  }

  #settle(entry: Entry): void {
    entry.phase = 'active';
    entry.outstanding = 0;
  }

  #close(key: string, entry: Entry, lingerMs: number): void {
    entry.phase = 'closing';
    entry.deadlineNs = this.#clock.monotonicNs() + BigInt(Math.round(lingerMs * 1e6));
    const sweep = (): void => {
      if (this.records.get(key) !== entry || entry.phase !== 'closing') return;
      if (this.#clock.monotonicNs() >= entry.deadlineNs) this.#delete(key);
      else this.#clock.after(sweepMs, sweep);
    };
    this.#clock.after(sweepMs, sweep);
  }

  #delete(key: string): void {
    this.records.delete(key);
    this.counted.delete(key);
  }

  #claim(
    key: string,
    change: Extract<FlowChange, { op: 'claim' }>,
    entry: Entry | undefined,
  ): FlowChangeResult {
    const { flow, endpointId, epoch } = change;
    const isOwner = entry?.endpointId === endpointId;
    const isFreed = entry?.phase === 'closing' && isOwner;
    if (entry !== undefined && !isFreed) {
      if (entry.epoch === epoch && isOwner) return 'ok';
      if (entry.epoch >= epoch) return 'stale';
    }
    if (entry !== undefined) {
      // Counters, and what is under way, stay with the flow.
      entry.endpointId = endpointId;
      entry.epoch = epoch;
      entry.phase = 'active';
      return 'ok';
    }
    if (this.records.size >= this.maxFlows) return 'full';
    const lastSeenNs = this.#clock.monotonicNs();
    this.records.set(key, {
      flow,
      endpointId,
      epoch,
      phase: 'active',
      deadlineNs: 0n,
      lastSeenNs,
      sawReset: false,
      outstanding: 0,
    });
    return 'ok';
  }
}

function assertChange(change: FlowChange): void {
  assertEpoch(change.epoch);
  if (change.op === 'claim' || change.op === 'switch') assertEndpointId(change.endpointId);
  if (change.op === 'switch') assertEpoch(change.newEpoch);
}

function assertEpoch(epoch: number): void {
  if (Number.isInteger(epoch) && epoch >= 0 && epoch <= 0xffffff) return;
  throw new RestitchError('usage', `epoch ${epoch} is not 0 … ${0xffffff}`);
}

function assertEndpointId(endpointId: number): number {
  if (Number.isInteger(endpointId) && endpointId >= 1 && endpointId < 4096) return endpointId;
  throw new RestitchError('usage', `endpoint id ${endpointId} is not 1 … 4095`);
}
