/** Of bpf/guard, by scripts/generate-layouts.mjs: do not edit, change the C and run that. */

/** enum guard_layout */
export const guardLayoutVersion = 3;

/** enum guard_bound */
export const guardBounds = {
  maxLeases: 1024,
  headerWords: 16,
  commandAt: 14,
} as const;

/** enum guard_flag */
export const guardFlags = {
  guard: 1,
  gate: 2,
  ended: 4,
  resetOnFin: 8,
  mayReset: 16,
  finishes: 32,
} as const;

/** enum guard_verdict */
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

/** enum guard_op */
export const guardOps = {
  register: 1,
  commit: 2,
  end: 3,
  remove: 4,
  reset: 5,
  moved: 6,
} as const;

/** enum guard_result */
export const guardResults = ['ok', 'emitted', 'stale', 'absent', 'full', 'invalid'] as const;

/** struct flow_key: its size and where its fields are, in bytes. */
export const flowKeyLayout = {
  sizeBytes: 36,
  client: 0,
  vip: 16,
  clientPort: 32,
  vipPort: 34,
} as const;

/** struct guard_flow: its size and where its fields are, in bytes. */
export const guardFlowLayout = {
  sizeBytes: 216,
  lock: 0,
  flags: 4,
  epoch: 8,
  lease: 12,
  committed: 16,
  sentEnd: 20,
  withheldAck: 24,
  ifindex: 28,
  withheldSinceNs: 32,
  withheld: 40,
  emitted: 48,
  rewritten: 56,
  dropped: 64,
  headerBytes: 72,
  l3Offset: 74,
  l4Offset: 75,
  windowScale: 76,
  finSeq: 80,
  birth: 84,
  header: 88,
} as const;

/** struct half_open_flow: its size and where its fields are, in bytes. */
export const halfOpenFlowLayout = {
  sizeBytes: 12,
  committed: 0,
  sentEnd: 4,
  windowScale: 8,
} as const;

/** struct listener_key: its size and where its fields are, in bytes. */
export const listenerKeyLayout = {
  sizeBytes: 20,
  vip: 0,
  port: 16,
} as const;

/** struct listener_value: its size and where its fields are, in bytes. */
export const listenerValueLayout = {
  sizeBytes: 8,
  flags: 0,
  lease: 4,
} as const;

/** struct guard_command: its size and where its fields are, in bytes. */
export const guardCommandLayout = {
  sizeBytes: 72,
  flow: 0,
  op: 36,
  epoch: 40,
  flags: 44,
  lease: 48,
  committed: 52,
  sentEnd: 56,
  windowScale: 60,
  finSeq: 64,
  birth: 68,
} as const;

/** struct witness: its size and where its fields are, in bytes. */
export const witnessLayout = {
  sizeBytes: 28,
  expectedSeq: 0,
  expectedAck: 4,
  agreeing: 8,
  contradicting: 12,
  seq: 16,
  ack: 20,
  seen: 24,
} as const;
