/**
 * The guard's maps and commands as user space sees them. Offsets and numbers come from the type information of the C sources
 * (layout.generated.ts, kept true by `npm run check`); here stands what is made of them.
 */
import { decodeFlowKey, encodeFlowKey, type Flow } from '@restitch/core';
import {
  guardBounds,
  guardCommandLayout,
  guardFlags,
  guardFlowLayout,
  guardOps,
  type guardResults,
  type guardVerdicts,
} from './layout.generated.js';

export {
  flowKeyLayout,
  guardCommandLayout,
  guardFlags,
  guardFlowLayout,
  guardLayoutVersion,
  guardOps,
  guardResults,
  guardVerdicts,
  halfOpenFlowLayout,
  listenerKeyLayout,
  listenerValueLayout,
  witnessLayout,
} from './layout.generated.js';

/** Guarded processes on one host (lease 0 is nobody's and never ends); and where a command stands in the frame of a test run. */
export const { maxLeases, commandAt } = guardBounds;

/** What became of a packet. */
export type GuardVerdict = (typeof guardVerdicts)[number];
/** Outcome of one control call; `emitted` is `ok` with an acknowledgement sent. */
export type GuardResult = (typeof guardResults)[number];

/** A command as the control program reads it. */
export interface GuardCommand {
  readonly op: keyof typeof guardOps;
  readonly flow: Flow;
  readonly epoch: number;
  readonly flags?: number;
  readonly lease?: number;
  readonly committed?: number;
  readonly sentEnd?: number;
  readonly windowScale?: number;
  readonly finSeq?: number;
  readonly birth?: number;
}

/** Writes a command into a frame of at least 86 bytes. */
export function encodeCommand(command: GuardCommand, frame: Buffer): void {
  const put = (number: number, at: number): void => {
    frame.writeUInt32LE(number >>> 0, commandAt + at);
  };
  frame.set(keyOf(command.flow), commandAt + guardCommandLayout.flow);
  put(guardOps[command.op], guardCommandLayout.op);
  put(command.epoch, guardCommandLayout.epoch);
  put(command.flags ?? 0, guardCommandLayout.flags);
  put(command.lease ?? 0, guardCommandLayout.lease);
  put(command.committed ?? 0, guardCommandLayout.committed);
  put(command.sentEnd ?? 0, guardCommandLayout.sentEnd);
  put(command.windowScale ?? 0, guardCommandLayout.windowScale);
  put(command.finSeq ?? 0, guardCommandLayout.finSeq);
  put(command.birth ?? 0, guardCommandLayout.birth);
}

/** A session's flow is one object that never changes, and each of its commits needs the key. */
const keys = new WeakMap<Flow, Uint8Array>();

function keyOf(flow: Flow): Uint8Array {
  const known = keys.get(flow);
  if (known !== undefined) return known;
  const key = encodeFlowKey(flow);
  keys.set(flow, key);
  return key;
}

/** One flow's entry in the guard. */
export interface GuardedFlow {
  readonly flow: Flow;
  readonly flags: number;
  readonly epoch: number;
  readonly lease: number;
  /** Highest acknowledgement that may leave. */
  readonly committed: number;
  /** Highest sequence number sent, FIN counted. */
  readonly sentEnd: number;
  readonly withheldAck: number;
  /** CLOCK_MONOTONIC; 0n: nothing is withheld. */
  readonly withheldSinceNs: bigint;
  readonly withheld: bigint;
  readonly emitted: bigint;
  readonly rewritten: bigint;
  readonly dropped: bigint;
  readonly windowScale: number;
  /** Where our FIN may stand; undefined while the application has not ended. */
  readonly finSeq: number | undefined;
  /** See `birthOf`; 0: not known. */
  readonly birth: number;
}

/** A number that tells sessions on the same ports from each other (FNV-1a of the id), never 0. */
export function birthOf(sessionId: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < sessionId.length; i++) hash = Math.imul(hash ^ sessionId.charCodeAt(i), 0x01000193);
  return hash >>> 0 || 1;
}

/** struct guard_flow. */
export function decodeGuardedFlow(flow: Flow, value: Buffer, at = 0): GuardedFlow {
  const flags = value.readUInt32LE(at + guardFlowLayout.flags);
  return {
    flow,
    flags,
    epoch: value.readUInt32LE(at + guardFlowLayout.epoch),
    lease: value.readUInt32LE(at + guardFlowLayout.lease),
    committed: value.readUInt32LE(at + guardFlowLayout.committed),
    sentEnd: value.readUInt32LE(at + guardFlowLayout.sentEnd),
    withheldAck: value.readUInt32LE(at + guardFlowLayout.withheldAck),
    withheldSinceNs: value.readBigUInt64LE(at + guardFlowLayout.withheldSinceNs),
    withheld: value.readBigUInt64LE(at + guardFlowLayout.withheld),
    emitted: value.readBigUInt64LE(at + guardFlowLayout.emitted),
    rewritten: value.readBigUInt64LE(at + guardFlowLayout.rewritten),
    dropped: value.readBigUInt64LE(at + guardFlowLayout.dropped),
    windowScale: value.readUInt8(at + guardFlowLayout.windowScale),
    finSeq: (flags & guardFlags.ended) === 0 ? undefined : value.readUInt32LE(at + guardFlowLayout.finSeq),
    birth: value.readUInt32LE(at + guardFlowLayout.birth),
  };
}

/** Flow of a packed key. */
export function decodeKey(keys: Buffer, at: number): Flow {
  return decodeFlowKey(keys, at);
}
