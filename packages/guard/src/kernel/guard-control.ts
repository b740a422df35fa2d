/**
 * The guard as an application or the agent uses it: register, commit, end, reset, remove, leases, listeners.
 *
 * Every call is one or two system calls and synchronous. A commit raises the gate and sends the acknowledgement it sets
 * free in the same call (bpf/guard/control.bpf.c); the caller must be in the network namespace of the interface.
 */
import { encodeAddress, encodeFlowKey, type Flow, RestitchError, type SocketAddress } from '@restitch/core';
import {
  deleteElement,
  lookupElement,
  possibleCpus,
  readMap,
  testRun,
  updateElement,
} from '@restitch/sys/internal';
import type { ProtectionLevel } from '../levels.js';
import type { GuardPins } from './guard-pins.js';
import {
  birthOf,
  commandAt,
  decodeGuardedFlow,
  decodeKey,
  encodeCommand,
  flowKeyLayout,
  type GuardCommand,
  type GuardedFlow,
  guardFlags,
  guardFlowLayout,
  type GuardResult,
  guardResults,
  type GuardVerdict,
  guardVerdicts,
  halfOpenFlowLayout,
  listenerKeyLayout,
  listenerValueLayout,
  maxLeases,
} from './layout.js';

/** Where a connection began, from its SYN-ACK. */
interface FlowOrigin {
  /** Sequence number of the client's first byte. */
  readonly clientStart: number;
  /** Sequence number of our first byte, if nothing has been sent since; else of the next one. */
  readonly sentEnd: number;
}

/** What a flow is registered with. */
interface Registration {
  readonly epoch: number;
  readonly level: ProtectionLevel;
  readonly lease: number;
  /** Acknowledgement that may leave. Never lowers what the guard has. */
  readonly committed: number;
  /** For flows whose SYN-ACK this host did not send (thawed ones). */
  readonly sentEnd: number;
  readonly windowScale: number;
  /** Of a session whose application has ended: sequence number at which our FIN may stand. */
  readonly finSeq?: number | undefined;
  /**
   * Id of the session. Epochs begin anew with each connection: without it an entry that an earlier connection on the same ports has
   * left (moved away, its client quick to reuse the port) would refuse this one, or keep its gate open at a byte of the past.
   */
  readonly session?: string | undefined;
}

/** The guard of this host. */
export interface GuardControl {
  /** From now on connections of this listener get `level` at their SYN; those at `none` are fenced by the lease, too. */
  setListener(vip: SocketAddress, level: ProtectionLevel, lease: number): void;
  removeListener(vip: SocketAddress): boolean;
  /** Ends at this CLOCK_MONOTONIC time; 0n ends it now. */
  setLease(lease: number, endsAtNs: bigint): void;
  leaseEndsAtNs(lease: number): bigint;
  originOf(flow: Flow): FlowOrigin | undefined;
  register(flow: Flow, registration: Registration): GuardResult;
  /** Raises the gate to `committed` (a sequence number, the client's FIN counted if it is committed). */
  commit(flow: Flow, epoch: number, committed: number): GuardResult;
  /**
   * The application has ended its output: our FIN may stand at `finSeq` (the sequence number behind its last byte), a FIN
   * anywhere else is dropped or becomes a reset, whoever sends it. `invalid` if another end was promised before.
   * Below level commit the kernel then finishes, lease or no lease; at level periodic from the next moment on in which it runs.
   */
  end(flow: Flow, epoch: number, finSeq: number): GuardResult;
  /** The application resets it, or restitch ends it by name: RST may pass. */
  allowReset(flow: Flow, epoch: number): GuardResult;
  /**
   * The session is served by another host now: stray packets that still come here draw resets, and at levels none and
   * periodic those of an ended session would pass. From here on nothing does, until it comes back under a newer epoch.
   */
  movedAway(flow: Flow, epoch: number): GuardResult;
  /** With `session`, an entry of a later connection on the same ports stays (`stale`), though it may have the same epoch. */
  remove(flow: Flow, epoch: number, session?: string): GuardResult;
  lookup(flow: Flow): GuardedFlow | undefined;
  list(): GuardedFlow[];
  verdicts(): Readonly<Record<GuardVerdict, bigint>>;
}

/** Flags of a level. */
function flagsOfLevel(level: ProtectionLevel): number {
  if (level === 'none') return guardFlags.resetOnFin;
  return level === 'periodic' ? guardFlags.guard : guardFlags.guard | guardFlags.gate;
}

/** The control over opened pins. Throws SyscallError where the kernel refuses. */
export function createGuardControl(pins: GuardPins): GuardControl {
  const frame = Buffer.alloc(128);
  const key = Buffer.alloc(flowKeyLayout.sizeBytes);
  const value = Buffer.alloc(guardFlowLayout.sizeBytes);
  const halfOpen = Buffer.alloc(halfOpenFlowLayout.sizeBytes);
  const map = (name: keyof GuardPins['maps']): number => pins.maps[name].value;

  const run = (command: GuardCommand): GuardResult => {
    frame.fill(0, 0, commandAt);
    encodeCommand(command, frame);
    return guardResults[testRun(pins.control.value, { data: frame }).retval] ?? 'invalid';
  };

  const lookup = (flow: Flow): GuardedFlow | undefined => {
    encodeFlowKey(flow, key);
    return lookupElement(map('guard_flows'), key, value) ? decodeGuardedFlow(flow, value) : undefined;
  };

  return {
    setListener(vip, level, lease) {
      assertLease(lease);
      const listener = Buffer.alloc(listenerValueLayout.sizeBytes);
      listener.writeUInt32LE(flagsOfLevel(level), listenerValueLayout.flags);
      listener.writeUInt32LE(lease, listenerValueLayout.lease);
      updateElement(map('guard_listeners'), listenerKey(vip), listener);
    },
    removeListener: (vip) => deleteElement(map('guard_listeners'), listenerKey(vip)),
    setLease(lease, endsAtNs) {
      assertLease(lease);
      if (lease === 0) throw new RestitchError('usage', 'lease 0 belongs to nobody and never ends');
      const ends = Buffer.alloc(8);
      ends.writeBigUInt64LE(endsAtNs);
      updateElement(map('guard_leases'), u32(lease), ends);
    },
    leaseEndsAtNs(lease) {
      const ends = Buffer.alloc(8);
      lookupElement(map('guard_leases'), u32(lease), ends);
      return ends.readBigUInt64LE(0);
    },
    originOf(flow) {
      encodeFlowKey(flow, key);
      if (lookupElement(map('guard_half_open'), key, halfOpen)) {
        return {
          clientStart: halfOpen.readUInt32LE(halfOpenFlowLayout.committed),
          sentEnd: halfOpen.readUInt32LE(halfOpenFlowLayout.sentEnd),
        };
      }
      const known = lookup(flow);
      return known === undefined ? undefined : { clientStart: known.committed, sentEnd: known.sentEnd };
    },
    register: (flow, r) => {
      assertLease(r.lease);
      const { finSeq, session, level, ...rest } = r;
      const birth = session === undefined ? 0 : birthOf(session);
      const flags = flagsOfLevel(level);
      if (finSeq === undefined) return run({ op: 'register', flow, ...rest, flags, birth });
      return run({ op: 'register', flow, ...rest, flags: flags | guardFlags.ended, finSeq, birth });
    },
    commit: (flow, epoch, committed) => run({ op: 'commit', flow, epoch, committed }),
    end: (flow, epoch, finSeq) => run({ op: 'end', flow, epoch, finSeq }),
    allowReset: (flow, epoch) => run({ op: 'reset', flow, epoch }),
    movedAway: (flow, epoch) => run({ op: 'moved', flow, epoch }),
    remove: (flow, epoch, session) =>
      run({ op: 'remove', flow, epoch, birth: session === undefined ? 0 : birthOf(session) }),
    lookup,
    list() {
      const all: GuardedFlow[] = [];
      const keyBytes = flowKeyLayout.sizeBytes;
      const valueBytes = guardFlowLayout.sizeBytes;
      readMap(map('guard_flows'), { keyBytes, valueBytes }, (keys, values, count) => {
        for (let i = 0; i < count; i++) {
          all.push(decodeGuardedFlow(decodeKey(keys, i * keyBytes), values, i * valueBytes));
        }
      });
      return all;
    },
    verdicts() {
      const cpus = possibleCpus();
      const perCpu = Buffer.alloc(8 * cpus);
      const sums = guardVerdicts.map((name, i) => {
        lookupElement(map('guard_verdicts'), u32(i), perCpu);
        let sum = 0n;
        for (let cpu = 0; cpu < cpus; cpu++) sum += perCpu.readBigUInt64LE(8 * cpu);
        return [name, sum] as const;
      });
      return Object.fromEntries(sums) as Record<GuardVerdict, bigint>;
    },
  };
}

function assertLease(lease: number): void {
  if (!Number.isInteger(lease) || lease < 0 || lease >= maxLeases) {
    throw new RestitchError('usage', `lease ${lease}: expected 0..${maxLeases - 1}`);
  }
}

function u32(n: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(n);
  return out;
}

function listenerKey(vip: SocketAddress): Buffer {
  const out = Buffer.alloc(listenerKeyLayout.sizeBytes);
  encodeAddress(vip.address, out, listenerKeyLayout.vip);
  out.writeUInt16BE(vip.port, listenerKeyLayout.port);
  return out;
}
