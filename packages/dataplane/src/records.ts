/** Reading records and sums out of the maps, in batches. */
import { decodeFlowKey, flowKeyBytes } from '@restitch/core';
import type { Fd } from '@restitch/sys';
import { lookupElement, possibleCpus, readMap, readMapChunks } from '@restitch/sys/internal';
import type { DataplaneStats, FlowPhase, FlowRecord } from './contract.js';
import type { HeldRecord } from './hold-queue.js';
import {
  decodeWord,
  endpointCountersLayout,
  flagSawReset,
  flowStates,
  flowValueLayout,
  gaugesLayout,
  verdictNames,
} from './layout.js';
import type { MapName, RecordWord } from './layout.js';

const phases = Object.fromEntries(
  Object.entries(flowStates).map(([phase, number]) => [number, phase as FlowPhase]),
);

/** One record from its key and value in memory. */
export function decodeRecord(keys: Buffer, values: Buffer, keyAt: number, at: number): FlowRecord {
  const word = decodeWord(values, at + flowValueLayout.word);
  return {
    flow: decodeFlowKey(keys, keyAt),
    endpointId: word.owner,
    epoch: word.epoch,
    phase: phases[word.state] ?? 'active',
    holdDeadlineNs: values.readBigUInt64LE(at + flowValueLayout.deadlineNs),
    lastSeenNs: values.readBigUInt64LE(at + flowValueLayout.lastSeenNs),
    packets: values.readBigUInt64LE(at + flowValueLayout.packets),
    bytes: values.readBigUInt64LE(at + flowValueLayout.bytes),
    sawReset: (values.readUInt32LE(at + flowValueLayout.flags) & flagSawReset) !== 0,
  };
}

/** All records, or those that are idle since then or have seen RST: decided before anything is decoded. */
export function listRecords(flowsFd: number, idleSinceNs?: bigint): FlowRecord[] {
  const records: FlowRecord[] = [];
  readMap(
    flowsFd,
    { keyBytes: flowKeyBytes, valueBytes: flowValueLayout.sizeBytes },
    (keys, values, count) => {
      for (let i = 0; i < count; i++) {
        const at = i * flowValueLayout.sizeBytes;
        if (idleSinceNs === undefined || isIdle(values, at, idleSinceNs))
          records.push(decodeRecord(keys, values, i * flowKeyBytes, at));
      }
    },
  );
  return records;
}

/** Few enough to be decoded between two other things, if all of them match: about 10 ms. */
const recordsPerTurn = 2048;

/** Records that name an endpoint, in portions; decided before anything is decoded. */
export function* listRecordsOf(flowsFd: number, endpointId: number): Generator<FlowRecord[], void> {
  const size = { keyBytes: flowKeyBytes, valueBytes: flowValueLayout.sizeBytes };
  for (const { keys, values, count } of readMapChunks(flowsFd, size, recordsPerTurn)) {
    const records: FlowRecord[] = [];
    for (let i = 0; i < count; i++) {
      const at = i * flowValueLayout.sizeBytes;
      if (decodeWord(values, at + flowValueLayout.word).owner === endpointId)
        records.push(decodeRecord(keys, values, i * flowKeyBytes, at));
    }
    yield records;
  }
}

function isIdle(values: Buffer, at: number, sinceNs: bigint): boolean {
  const sawReset = (values.readUInt32LE(at + flowValueLayout.flags) & flagSawReset) !== 0;
  return sawReset || values.readBigUInt64LE(at + flowValueLayout.lastSeenNs) <= sinceNs;
}

/** Records that were ever held, with key and tag as the hold queue wants them. */
export function listTagged(flowsFd: number): (HeldRecord & { readonly word: RecordWord })[] {
  const found: (HeldRecord & { readonly word: RecordWord })[] = [];
  readMap(
    flowsFd,
    { keyBytes: flowKeyBytes, valueBytes: flowValueLayout.sizeBytes },
    (keys, values, count) => {
      for (let i = 0; i < count; i++) {
        const at = i * flowValueLayout.sizeBytes;
        const tag = values.readUInt32LE(at + flowValueLayout.holdTag);
        if (tag === 0) continue;
        const word = decodeWord(values, at + flowValueLayout.word);
        const key = Uint8Array.from(keys.subarray(i * flowKeyBytes, (i + 1) * flowKeyBytes));
        found.push({
          key,
          tag,
          word,
          epoch: word.epoch,
          deadlineNs: values.readBigUInt64LE(at + flowValueLayout.deadlineNs),
        });
      }
    },
  );
  return found;
}

/** Sums over all CPUs. */
export function readStats(maps: Readonly<Record<MapName, Fd>>): DataplaneStats {
  const cpus = possibleCpus();
  const verdicts: Record<string, bigint> = {};
  readMap(maps.verdicts.value, { keyBytes: 4, valueBytes: 8 * cpus }, (keys, values, count) => {
    for (let i = 0; i < count; i++) {
      const name = verdictNames[keys.readUInt32LE(i * 4)];
      if (name !== undefined) verdicts[name] = sum(values, i * 8 * cpus, 8, cpus);
    }
  });
  const endpoints: { endpointId: number; packets: bigint; bytes: bigint }[] = [];
  const { sizeBytes } = endpointCountersLayout;
  readMap(maps.endpoint_stats.value, { keyBytes: 4, valueBytes: sizeBytes * cpus }, (keys, values, count) => {
    for (let i = 0; i < count; i++) {
      const at = i * sizeBytes * cpus;
      const packets = sum(values, at + endpointCountersLayout.packets, sizeBytes, cpus);
      if (packets === 0n) continue;
      const bytes = sum(values, at + endpointCountersLayout.bytes, sizeBytes, cpus);
      endpoints.push({ endpointId: keys.readUInt32LE(i * 4), packets, bytes });
    }
  });
  const gauges = Buffer.alloc(gaugesLayout.sizeBytes);
  lookupElement(maps.gauges_map.value, Buffer.alloc(4), gauges);
  return {
    verdicts,
    endpoints,
    flows: Number(gauges.readBigUInt64LE(gaugesLayout.flows)),
    heldBytes: Number(gauges.readBigInt64LE(gaugesLayout.heldBytes)),
    heldDropped: Number(verdicts['drop_hold_full'] ?? 0n),
  };
}

function sum(values: Buffer, at: number, stride: number, cpus: number): bigint {
  let total = 0n;
  for (let i = 0; i < cpus; i++) total += values.readBigUInt64LE(at + i * stride);
  return total;
}
