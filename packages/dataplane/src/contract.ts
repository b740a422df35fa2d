/**
 * What the access point may ask of the data plane. Implemented over pinned BPF programs and maps; every call is a few
 * system calls and synchronous, because a map update costs about a microsecond and a promise costs more.
 *
 * A flow's record in the map is the one commit point of a move: it names exactly one owner and one epoch.
 */
import type { Clock, Flow, Logger } from '@restitch/core';

/** What packets of a flow meet. */
export type FlowPhase =
  /** Go to the owner. */
  | 'active'
  /** Are kept; past the deadline they go to the owner (which has not been frozen). */
  | 'hold'
  /** Are kept; past the deadline they are dropped (the owner's socket is frozen). */
  | 'frozen'
  /** Held ones are being delivered to the owner, fresh ones queue behind them; becomes active by itself. */
  | 'releasing'
  /** The endpoint said the session ended: still go to the owner until the entry expires, a new SYN starts afresh. */
  | 'closing';

/** One flow's record with its counters. */
export interface FlowRecord {
  readonly flow: Flow;
  /** Fixed-width id that user space allotted to the endpoint, 1 … 4095. */
  readonly endpointId: number;
  /** At most 0xffffff. */
  readonly epoch: number;
  readonly phase: FlowPhase;
  readonly holdDeadlineNs: bigint;
  /** CLOCK_MONOTONIC of the last packet. */
  readonly lastSeenNs: bigint;
  readonly packets: bigint;
  readonly bytes: bigint;
  /** The client has sent RST: a hint to ask the endpoint. */
  readonly sawReset: boolean;
}

/** One change of a flow's record; refused (not thrown) if the record is not as `expect` says. */
export type FlowChange =
  /** Adds a flow the endpoint announced, or raises its owner if `epoch` is higher than the record's. */
  | { readonly op: 'claim'; readonly flow: Flow; readonly endpointId: number; readonly epoch: number }
  | { readonly op: 'hold'; readonly flow: Flow; readonly epoch: number; readonly deadlineNs: bigint }
  | { readonly op: 'freeze'; readonly flow: Flow; readonly epoch: number; readonly deadlineNs: bigint }
  /** The commit point: owner and epoch change, packets stay held. `epoch` is the old one. */
  | {
      readonly op: 'switch';
      readonly flow: Flow;
      readonly epoch: number;
      readonly endpointId: number;
      readonly newEpoch: number;
    }
  /** Delivers what is held to the record's owner, in order, and goes on to active. */
  | { readonly op: 'release'; readonly flow: Flow; readonly epoch: number }
  | { readonly op: 'close'; readonly flow: Flow; readonly epoch: number; readonly lingerMs: number }
  | { readonly op: 'remove'; readonly flow: Flow; readonly epoch: number };

/** `stale`: the record's epoch is another. `absent`: no record. `phase`: not allowed in the record's phase. `full`: no room. */
export type FlowChangeResult = 'ok' | 'stale' | 'absent' | 'phase' | 'full';

/** A forwarding target as the data plane sees it. */
export interface ForwardTarget {
  readonly endpointId: number;
  /** Address on the VIP's network; the MAC is learned from neighbours and kept fresh. */
  readonly dataAddress: string;
}

/** A virtual service and the endpoints that take new flows. An empty list refuses new flows, counted. */
export interface VirtualService {
  readonly address: string;
  readonly port: number;
  readonly backends: ReadonlyArray<{ readonly endpointId: number; readonly weight: number }>;
}

/** Bounds of holding, per flow and in all. @public */
export interface HoldBounds {
  readonly flowBytes: number;
  readonly totalBytes: number;
}

/** Sums by verdict since the maps were made (names as in bpf/steering/consts.h), and per endpoint. */
export interface DataplaneStats {
  readonly verdicts: Readonly<Record<string, bigint>>;
  readonly endpoints: ReadonlyArray<{
    readonly endpointId: number;
    readonly packets: bigint;
    readonly bytes: bigint;
  }>;
  readonly flows: number;
  readonly heldBytes: number;
  readonly heldDropped: number;
}

/** `reset`: the client has let go, by its own word. `gone`: it had done so before. `unanswered`: nothing came from it. */
export type ResetOutcome = 'reset' | 'gone' | 'unanswered';

/** The data plane of one access point. */
export interface Dataplane {
  /** True if pinned maps of an earlier daemon were taken over; false if they are new, or it never finished rebuilding. */
  readonly isAdopted: boolean;
  /** While rebuilding, packets of unknown flows are dropped and counted, never steered. New maps start so. */
  setRebuilding(on: boolean): void;
  setTarget(target: ForwardTarget): void;
  removeTarget(endpointId: number): void;
  setServices(services: readonly VirtualService[]): void;
  /** Applies changes in order, in one batch; results in the same order. */
  apply(changes: readonly FlowChange[]): FlowChangeResult[];
  lookup(flow: Flow): FlowRecord | undefined;
  /**
   * Ends the client's connection with an RST that it can check, also if it only reads. Its record must be in hold or
   * frozen until this resolves: the client's answers are read from there. Rejects with the system's error.
   */
  resetClient(flow: Flow, deadlineMs: number): Promise<ResetOutcome>;
  /** All records, read in batches; or only those without a packet since `idleSinceNs` and those whose client sent RST. */
  list(idleSinceNs?: bigint): FlowRecord[];
  /**
   * Records that name this endpoint, in portions: to read them all takes hundreds of milliseconds when there are many, and
   * the caller lets others have a turn in between.
   */
  listOf(endpointId: number): Iterable<FlowRecord[]>;
  /**
   * Forgets which SYNs went to an endpoint that has died: repeated ones, and acknowledgements of its handshakes, then go
   * where Maglev says, which is to whoever lives. To be called when no service names it any more; a late packet would
   * make a new entry. Returns how many were forgotten.
   */
  forgetHalfOpen(endpointId: number): number;
  stats(): DataplaneStats;
  /** Lets go of descriptors; programs and maps stay pinned and traffic flows on. */
  close(): void;
  /** Detaches and unpins everything. */
  destroy(): void;
}

/** What `openDataplane` needs. */
export interface DataplaneOptions {
  /** Interface on the VIP's network. */
  readonly interfaceName: string;
  /** Directory of the pins, e.g. /sys/fs/bpf/restitch/main. */
  readonly pinDirectory: string;
  /** Name of the TAP device that keeps held packets, at most 15 bytes. */
  readonly holdDevice: string;
  readonly maxFlows: number;
  readonly maxHalfOpen: number;
  readonly holdBounds: HoldBounds;
  readonly clock?: Clock;
  readonly logger?: Logger;
}
