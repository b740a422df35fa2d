/** Numbers and offsets of bpf/consts.h and bpf/maps.h as user space needs them; layout.test.ts holds both against each other. */
import { decodeFlowKey, encodeFlowKey, type Flow } from '@restitch/core';

/** Changes with any layout in bpf/maps.h; part of the pins' path, so that another version's maps are never read wrongly. */
export const guardLayoutVersion = 3;

/** Guarded processes on one host. Lease 0 is nobody's and never ends. */
export const maxLeases = 1024;

/** FLAG_… of bpf/consts.h. */
export const guardFlags = { guard: 1, gate: 2, ended: 4, resetOnFin: 8, mayReset: 16, finishes: 32 } as const;

/** enum guard_verdict, in order. */
export const guardVerdicts = [
  'pass',
  'rewritten',
  'withheld',
  'emitted',
  'dropFin',
  'dropRst',
  'dropLease',
  'dropUnknown',
  'reset',
  'tableFull',
  'emitFailed',
] as const;
/** What became of a packet. */
export type GuardVerdict = (typeof guardVerdicts)[number];

/** enum guard_op. */
export const guardOps = { register: 1, commit: 2, end: 3, remove: 4, reset: 5, moved: 6 } as const;

/** enum guard_result, in order. */
export const guardResults = ['ok', 'emitted', 'stale', 'absent', 'full', 'invalid'] as const;
/** Outcome of one control call; `emitted` is `ok` with an acknowledgement sent. */
export type GuardResult = (typeof guardResults)[number];

/** Bytes of struct guard_flow, half_open_flow, guard_command, listener_key. */
export const sizes = {
  flow: 216,
  halfOpen: 12,
  command: 72,
  listenerKey: 20,
  listenerValue: 8,
  key: 36,
} as const;

/** A command stands behind the place of an Ethernet header, because the test run wants a frame. */
export const commandAt = 14;

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
  frame.set(keyOf(command.flow), commandAt);
  const numbers = [
    guardOps[command.op],
    command.epoch,
    command.flags ?? 0,
    command.lease ?? 0,
    command.committed ?? 0,
    command.sentEnd ?? 0,
    command.windowScale ?? 0,
    command.finSeq ?? 0,
    command.birth ?? 0,
  ];
  numbers.forEach((n, i) => frame.writeUInt32LE(n >>> 0, commandAt + sizes.key + 4 * i));
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
  return {
    flow,
    flags: value.readUInt32LE(at + 4),
    epoch: value.readUInt32LE(at + 8),
    lease: value.readUInt32LE(at + 12),
    committed: value.readUInt32LE(at + 16),
    sentEnd: value.readUInt32LE(at + 20),
    withheldAck: value.readUInt32LE(at + 24),
    withheldSinceNs: value.readBigUInt64LE(at + 32),
    withheld: value.readBigUInt64LE(at + 40),
    emitted: value.readBigUInt64LE(at + 48),
    rewritten: value.readBigUInt64LE(at + 56),
    dropped: value.readBigUInt64LE(at + 64),
    windowScale: value.readUInt8(at + 76),
    finSeq: (value.readUInt32LE(at + 4) & guardFlags.ended) === 0 ? undefined : value.readUInt32LE(at + 80),
    birth: value.readUInt32LE(at + 84),
  };
}

/** Flow of a packed key. */
export function decodeKey(keys: Buffer, at: number): Flow {
  return decodeFlowKey(keys, at);
}
