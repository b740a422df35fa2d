/** What reads and writes the maps, held against the record of the layout version (bpf/steering/pinned). */
import fc from 'fast-check';
import { encodeFlowKey, flowKeyBytes } from '@restitch/core';
import { createSingleElementMap, lookupElement } from '@restitch/sys/internal';
import { describe, expect, it } from 'vitest';
import {
  commandLayout,
  decodeWord,
  flowStates,
  layoutVersion,
  mapNames,
  maxEpoch,
  verdictNames,
} from './layout.js';
import { decodeOutcome, encodeCommand } from './control.js';
import { decodeRecord } from './records.js';
import { openSettings } from './settings.js';
import { encodeTarget } from './targets.js';
import { fillStruct, pinnedBits, pinnedStruct, readStruct } from '../../../test/pinned-fields.js';

const struct = (name: string) => pinnedStruct('steering', layoutVersion, name);
const flow = { client: { address: '10.0.0.1', port: 40001 }, vip: { address: 'fd00::1', port: 7000 } };

describe('a record', () => {
  it('is read field by field where it is', () => {
    const word = 0x02_0007_0123_00abcdn;
    const value = fillStruct(struct('flow_value'), (name, i) => (name === 'word' ? 0 : 17 + 2 * i));
    value.writeBigUInt64LE(word, 0);
    const key = Buffer.from(encodeFlowKey(flow));
    const at = (name: string): bigint => BigInt(readStruct(struct('flow_value'), value)[name] ?? 0);
    expect(decodeRecord(Buffer.concat([Buffer.alloc(3), key]), value, 3, 0)).toEqual({
      flow,
      endpointId: 0x123,
      epoch: 0xabcd,
      phase: 'hold',
      holdDeadlineNs: at('deadline_ns'),
      lastSeenNs: at('last_seen_ns'),
      packets: at('packets'),
      bytes: at('bytes'),
      sawReset: true,
    });
  });

  it('has its word taken apart as C put it together', () => {
    const bits = { state: 8, outstanding: 16, owner: 16, epoch: 24 };
    const parts = fc.record({
      state: fc.nat(2 ** bits.state - 1),
      outstanding: fc.nat(2 ** bits.outstanding - 1),
      owner: fc.nat(2 ** bits.owner - 1),
      epoch: fc.nat(2 ** bits.epoch - 1),
    });
    const places = pinnedBits('steering', layoutVersion, 'record_word');
    expect(Object.fromEntries(places.map(({ name, bits: width }) => [name, width]))).toEqual(bits);
    fc.assert(
      fc.property(parts, (word) => {
        const memory = Buffer.alloc(8);
        const whole = places.reduce(
          (sum, { name, at }) => sum | (BigInt(word[name as keyof typeof word]) << BigInt(at)),
          0n,
        );
        memory.writeBigUInt64LE(whole);
        expect(decodeWord(memory, 0)).toEqual(word);
      }),
    );
  });

  it('has room for an epoch of 24 bits', () => {
    expect(maxEpoch).toBe(2 ** 24 - 1);
  });
});

describe('a command', () => {
  const layout = struct('command');

  it('is written field by field where it is', () => {
    const numbers = { epoch: 2, newEpoch: 3, endpointId: 4, holdTag: 5, deadlineNs: 6n };
    const memory = Buffer.alloc(8 + layout.bytes);
    encodeCommand({ op: 'close', flow, ...numbers }, memory, 8);
    expect(commandLayout.sizeBytes).toBe(layout.bytes);
    expect(memory.subarray(8, 8 + flowKeyBytes)).toEqual(Buffer.from(encodeFlowKey(flow)));
    expect(readStruct(layout, memory, 8)).toEqual({
      op: 6,
      epoch: 2,
      new_epoch: 3,
      endpoint: 4,
      hold_tag: 5,
      deadline_ns: 6,
      result: 0,
      reserved: 0,
      word: 0,
    });
  });

  it('has its answer read where it is', () => {
    const number = { result: 3, hold_tag: 77, word: 0x0900_0005 } as Record<string, number>;
    const value = fillStruct(layout, (name) => number[name] ?? 250);
    expect(decodeOutcome(value, 0)).toEqual({
      result: 'phase',
      holdTag: 77,
      word: { state: 0, outstanding: 0, owner: 9, epoch: 5 },
    });
  });
});

describe('what user space writes', () => {
  it('puts every setting where it is', () => {
    const layout = struct('settings');
    const map = createSingleElementMap('settings', layout.bytes);
    try {
      const options = { maxFlows: 1001, holdBounds: { flowBytes: 1002, totalBytes: 1003 } };
      const settings = openSettings(map.value, { isAdopted: false, holdFrames: 1004 }, options);
      settings.setHoldInterface(1005);
      const read = (): Record<string, number> => {
        const value = Buffer.alloc(layout.bytes);
        lookupElement(map.value, Buffer.alloc(4), value);
        return readStruct(layout, value);
      };
      const first = read();
      expect(first).toEqual({
        rebuilding: 1,
        hold_ifindex: 1005,
        hash_seed: expect.any(Number),
        max_flows: 1001,
        hold_flow_bytes: 1002,
        hold_frames: 1004,
        hold_total_bytes: 1003,
      });
      settings.setRebuilding(false);
      expect(read()).toEqual({ ...first, rebuilding: 0 });
      const next = openSettings(map.value, { isAdopted: true, holdFrames: 1004 }, options);
      expect(next.wasRebuilding).toBe(false);
      expect(read()).toEqual({ ...first, rebuilding: 0, hold_ifindex: 0 });
    } finally {
      map.close();
    }
  });

  it('puts a target’s MACs, its interface and what is done with it where they are', () => {
    const layout = struct('endpoint_value');
    const [mac, ownMac] = [Buffer.alloc(6, 0x22), Buffer.alloc(6, 0x33)];
    const value = encodeTarget({ mac, ownMac, interfaceIndex: 9 });
    const expected = fillStruct(
      layout,
      (name) => ({ destination: 0x22, source: 0x33, action: 1, has_mac: 1, ifindex: 9 })[name] ?? 0,
    );
    expect(value).toEqual(expected);
    expect(readStruct(layout, encodeTarget({ mac: undefined, ownMac, interfaceIndex: 9 }))).toMatchObject({
      action: 1,
      has_mac: 0,
      ifindex: 9,
    });
  });
});

describe('names', () => {
  it('are those that the contract, statistics and pins use', () => {
    expect(Object.keys(flowStates)).toEqual(['active', 'hold', 'frozen', 'releasing', 'closing']);
    expect(verdictNames).toContain('drop_no_backend');
    expect(mapNames).toHaveLength(12);
  });
});
