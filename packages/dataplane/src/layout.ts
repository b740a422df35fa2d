/**
 * The maps as user space sees them: names, sizes, offsets and numbers of bpf/consts.h and bpf/maps.h. layout.test.ts
 * compares them with the C sources and with what the kernel says of the loaded maps.
 */
import type { FlowPhase } from './contract.js';

/** Changes when a pinned map's key or value changes; pins of another layout are refused. */
export const layoutVersion = 1;

/** Every pinned map. */
export const mapNames = [
  'flows',
  'half_open',
  'fragments',
  'vips',
  'services',
  'maglev_tables',
  'endpoints',
  'endpoint_stats',
  'verdicts',
  'settings_map',
  'gauges_map',
  'command_map',
] as const;
/** Name of a pinned map. */
export type MapName = (typeof mapNames)[number];

/** bpf/consts.h */
export const maglevSize = 65537;
/** bpf/consts.h */
export const maxServices = 256;
/** bpf/consts.h: ids are 1 … maxEndpoints − 1. */
export const maxEndpoints = 4096;
/** bpf/consts.h */
export const maxCommands = 256;
/** bpf/consts.h: epochs have 24 bits in the record. */
export const maxEpoch = 0xffffff;

/** enum flow_state */
export const flowStates = {
  active: 1,
  hold: 2,
  frozen: 3,
  releasing: 4,
  closing: 5,
} as const satisfies Record<FlowPhase, number>;

/** enum verdict, in order, as `stats` names them. */
export const verdictNames = [
  'pass',
  'steered',
  'syn',
  'promoted',
  'fallback',
  'held',
  'released',
  'icmp',
  'drop_rebuilding',
  'drop_no_backend',
  'drop_no_target',
  'drop_table_full',
  'drop_hold_full',
  'drop_frozen',
  'drop_fragment',
  'drop_icmp',
  'drop_contended',
  'table_full',
] as const;
/** What became of a packet. */
export type VerdictName = (typeof verdictNames)[number];

/** enum command_op */
export const commandOps = {
  claim: 1,
  hold: 2,
  freeze: 3,
  switch: 4,
  release: 5,
  close: 6,
  remove: 7,
  settle: 8,
  forget: 9,
  expire: 10,
  'reset-held': 11,
} as const;

/** enum command_result, in order. */
export const commandResults = ['ok', 'stale', 'absent', 'phase', 'full'] as const;

/** struct flow_value */
export const flowValue = {
  bytes: 56,
  word: 0,
  deadlineNs: 8,
  lastSeenNs: 16,
  packets: 24,
  counted: 32,
  flags: 40,
  holdTag: 44,
  heldBytes: 48,
} as const;

/** flow_value.flags: the client has sent RST. */
export const flagSawReset = 1;

/** struct command */
export const commandLayout = {
  bytes: 80,
  op: 36,
  epoch: 40,
  newEpoch: 44,
  endpoint: 48,
  holdTag: 52,
  deadlineNs: 56,
  result: 64,
  word: 72,
} as const;

/** struct settings */
export const settingsLayout = {
  bytes: 32,
  rebuilding: 0,
  holdIfindex: 4,
  hashSeed: 8,
  maxFlows: 12,
  holdFlowBytes: 16,
  holdFrames: 20,
  holdTotalBytes: 24,
} as const;

/** struct half_open_value */
export const halfOpenLayout = { bytes: 8, endpoint: 0 } as const;

/** struct gauges */
export const gaugesLayout = { bytes: 24, flows: 0, heldBytes: 8, heldFrames: 16 } as const;

/** struct endpoint_value */
export const endpointLayout = {
  bytes: 24,
  destination: 0,
  action: 6,
  source: 8,
  hasMac: 14,
  ifindex: 16,
} as const;

/** enum forward_action: L2 direct return. */
export const actionL2 = 1;

/** struct service_key and service_value */
export const serviceLayout = { keyBytes: 20, valueBytes: 8, port: 16, table: 0, backends: 4 } as const;

/** The parts of a record's word. */
export interface RecordWord {
  readonly state: number;
  readonly outstanding: number;
  readonly owner: number;
  readonly epoch: number;
}

/** Takes a word apart: state(8) | outstanding(16) | owner(16) | epoch(24). Two 32-bit reads: bigint costs four times more. */
export function decodeWord(memory: Buffer, at: number): RecordWord {
  const low = memory.readUInt32LE(at);
  const high = memory.readUInt32LE(at + 4);
  return {
    state: high >>> 24,
    outstanding: (high >>> 8) & 0xffff,
    owner: ((high & 0xff) << 8) | (low >>> 24),
    epoch: low & maxEpoch,
  };
}
