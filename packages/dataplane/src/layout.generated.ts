/** Of bpf/steering, by scripts/generate-layouts.mjs: do not edit, change the C and run that. */

/** Every map, all of them pinned. */
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

/** enum layout */
export const layoutVersion = 1;

/** enum bound */
export const bounds = {
  maglevSize: 65537,
  maxServices: 256,
  maxEndpoints: 4096,
  maxFragments: 8192,
  maxCommands: 256,
} as const;

/** enum flow_state */
export const flowStates = {
  active: 1,
  hold: 2,
  frozen: 3,
  releasing: 4,
  closing: 5,
} as const;

/** enum record_flag */
export const recordFlags = {
  sawReset: 1,
} as const;

/** enum forward_action */
export const forwardActions = {
  none: 0,
  l2: 1,
} as const;

/** enum verdict */
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

/** enum command_result */
export const commandResults = ['ok', 'stale', 'absent', 'phase', 'full'] as const;

/** struct record_word: its size and where its fields are, in bytes and bits. */
export const recordWordLayout = {
  sizeBytes: 8,
  epoch: { at: 0, bits: 24 },
  owner: { at: 24, bits: 16 },
  outstanding: { at: 40, bits: 16 },
  state: { at: 56, bits: 8 },
} as const;

/** struct flow_value: its size and where its fields are, in bytes. */
export const flowValueLayout = {
  sizeBytes: 56,
  word: 0,
  deadlineNs: 8,
  lastSeenNs: 16,
  packets: 24,
  bytes: 32,
  flags: 40,
  holdTag: 44,
  heldBytes: 48,
} as const;

/** struct half_open_value: its size and where its fields are, in bytes. */
export const halfOpenValueLayout = {
  sizeBytes: 8,
  endpoint: 0,
} as const;

/** struct service_key: its size and where its fields are, in bytes. */
export const serviceKeyLayout = {
  sizeBytes: 20,
  vip: 0,
  port: 16,
} as const;

/** struct service_value: its size and where its fields are, in bytes. */
export const serviceValueLayout = {
  sizeBytes: 8,
  table: 0,
  backends: 4,
} as const;

/** struct endpoint_value: its size and where its fields are, in bytes. */
export const endpointValueLayout = {
  sizeBytes: 24,
  destination: 0,
  action: 6,
  source: 8,
  hasMac: 14,
  ifindex: 16,
} as const;

/** struct endpoint_counters: its size and where its fields are, in bytes. */
export const endpointCountersLayout = {
  sizeBytes: 16,
  packets: 0,
  bytes: 8,
} as const;

/** struct settings: its size and where its fields are, in bytes. */
export const settingsLayout = {
  sizeBytes: 32,
  rebuilding: 0,
  holdIfindex: 4,
  hashSeed: 8,
  maxFlows: 12,
  holdFlowBytes: 16,
  holdFrames: 20,
  holdTotalBytes: 24,
} as const;

/** struct gauges: its size and where its fields are, in bytes. */
export const gaugesLayout = {
  sizeBytes: 24,
  flows: 0,
  heldBytes: 8,
  heldFrames: 16,
} as const;

/** struct command: its size and where its fields are, in bytes. */
export const commandLayout = {
  sizeBytes: 80,
  flow: 0,
  op: 36,
  epoch: 40,
  newEpoch: 44,
  endpoint: 48,
  holdTag: 52,
  deadlineNs: 56,
  result: 64,
  word: 72,
} as const;
