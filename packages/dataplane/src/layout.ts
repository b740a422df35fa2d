/**
 * The maps as user space sees them. Names, sizes, offsets and numbers come from the type information of the C sources
 * (layout.generated.ts, kept true by `npm run check`); here stands what is made of them.
 */
import type { FlowPhase } from './contract.js';
import { bounds, flowStates, forwardActions, recordFlags, recordWordLayout } from './layout.generated.js';
import type { mapNames, verdictNames } from './layout.generated.js';

export {
  commandLayout,
  commandOps,
  commandResults,
  endpointCountersLayout,
  endpointValueLayout,
  flowStates,
  flowValueLayout,
  gaugesLayout,
  halfOpenValueLayout,
  layoutVersion,
  mapNames,
  serviceKeyLayout,
  serviceValueLayout,
  settingsLayout,
  verdictNames,
} from './layout.generated.js';

/** Name of a pinned map. */
export type MapName = (typeof mapNames)[number];
/** What became of a packet. */
export type VerdictName = (typeof verdictNames)[number];

/** Every phase of the contract has its number. */
flowStates satisfies Record<FlowPhase, number>;

export const { maglevSize, maxServices, maxEndpoints, maxCommands } = bounds;
/** Epochs have 24 bits in the record. */
export const maxEpoch = 2 ** recordWordLayout.epoch.bits - 1;

/** flow_value.flags: the client has sent RST. */
export const flagSawReset = recordFlags.sawReset;
/** enum forward_action: L2 direct return. */
export const actionL2 = forwardActions.l2;

/** The parts of a record's word. */
export interface RecordWord {
  readonly state: number;
  readonly outstanding: number;
  readonly owner: number;
  readonly epoch: number;
}

/**
 * Takes a word apart: state(8) | outstanding(16) | owner(16) | epoch(24). Two 32-bit reads: bigint costs four times more.
 * The places are written out, because the owner lies across both; layout.test.ts holds them against `recordWordLayout`.
 */
export function decodeWord(memory: Buffer, at: number): RecordWord {
  const low = memory.readUInt32LE(at);
  const high = memory.readUInt32LE(at + 4);
  return {
    state: high >>> 24,
    outstanding: (high >>> 8) & 0xffff,
    owner: ((high & 0xff) << 8) | (low >>> 24),
    epoch: low & 0xffffff,
  };
}
