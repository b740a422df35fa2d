/** Flow records in memory with the rules of bpf/steering/control.bpf.c; survives the death of a daemon in a test. */
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
}

/** Pinned maps, as it were. */
export class FakeDataplane implements Dataplane {
  isAdopted = false;
  isRebuilding = true;
  services: readonly VirtualService[] = [];
  readonly targets = new Set<number>();
  readonly records = new Map<string, Entry>();
  /** Where SYNs went whose handshake is not over, by flow. */
  readonly halfOpen = new Map<string, number>();
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
    this.targets.add(target.endpointId);
  }

  removeTarget(endpointId: number): void {
    this.targets.delete(endpointId);
  }

  setServices(services: readonly VirtualService[]): void {
    this.services = services;
  }

  apply(changes: readonly FlowChange[]): FlowChangeResult[] {
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

  list(): FlowRecord[] {
    return [...this.records.values()].map((entry) => this.#toRecord(entry));
  }

  *listOf(endpointId: number): Generator<FlowRecord[], void> {
    const records = this.list().filter((record) => record.endpointId === endpointId);
    for (let i = 0; i < records.length; i += 100) yield records.slice(i, i + 100);
  }

  /** A client's SYN, as bpf/steering/steering.bpf.c steers it; undefined if the service has no backend. */
  syn(flow: Flow): number | undefined {
    const key = formatFlow(flow);
    const known = this.halfOpen.get(key);
    if (known !== undefined) return known;
    const { address, port } = flow.vip;
    const [first] = this.services.find((s) => s.address === address && s.port === port)?.backends ?? [];
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
    return { ...entry, holdDeadlineNs: entry.deadlineNs, ...counted };
  }

  #change(change: FlowChange): FlowChangeResult {
    const key = formatFlow(change.flow);
    const entry = this.records.get(key);
    if (change.op === 'claim') return this.#claim(key, change, entry);
    if (entry === undefined) return 'absent';
    if (entry.epoch !== change.epoch) return 'stale';
    switch (change.op) {
      case 'hold':
        if (entry.phase !== 'active' && entry.phase !== 'hold') return 'phase';
        entry.phase = 'hold';
        entry.deadlineNs = change.deadlineNs;
        return 'ok';
      case 'freeze':
        if (entry.phase === 'releasing' || entry.phase === 'closing') return 'phase';
        entry.phase = 'frozen';
        entry.deadlineNs = change.deadlineNs;
        return 'ok';
      case 'switch':
        if (entry.phase !== 'hold' && entry.phase !== 'frozen') return 'phase';
        if (change.newEpoch <= change.epoch) return 'stale';
        entry.endpointId = change.endpointId;
        entry.epoch = change.newEpoch;
        return 'ok';
      case 'release':
        if (entry.phase === 'closing') return 'phase';
        entry.phase = 'active';
        return 'ok';
      case 'close':
        entry.phase = 'closing';
        return 'ok';
      case 'remove':
        this.records.delete(key);
        return 'ok';
    }
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
    const lastSeenNs = this.#clock.monotonicNs();
    this.records.set(key, {
      flow,
      endpointId,
      epoch,
      phase: 'active',
      deadlineNs: 0n,
      lastSeenNs,
      sawReset: false,
    });
    return 'ok';
  }
}
