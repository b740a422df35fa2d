/** What reads and writes the guard's maps, held against the record of the layout version (bpf/guard/pinned). */
import type { Flow } from '@restitch/core';
import { encodeFlowKey } from '@restitch/core';
import { Fd } from '@restitch/sys';
import {
  getBufferOption,
  lookupElement,
  openSocket,
  so,
  solSocket,
  updateElement,
} from '@restitch/sys/internal';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createGuardControl } from './guard-control.js';
import { ensureGuardPins, type GuardPins, removeGuardPins } from './guard-pins.js';
import {
  birthOf,
  commandAt,
  decodeGuardedFlow,
  decodeKey,
  encodeCommand,
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
  maxLeases,
  witnessLayout,
} from './layout.js';
import { attachWitness } from './witness.js';
import { useBpfDirectory } from '../../../../test/bpf-directory.js';
import { camelCase, fillStruct, pinnedStruct, readStruct } from '../../../../test/pinned-fields.js';

const struct = (name: string) => pinnedStruct('guard', guardLayoutVersion, name);
const flow: Flow = { client: { address: '10.9.0.2', port: 40001 }, vip: { address: 'fd00::1', port: 7000 } };

describe('structs', () => {
  it('have the same sizes', () => {
    const layouts = {
      flow_key: flowKeyLayout,
      guard_flow: guardFlowLayout,
      half_open_flow: halfOpenFlowLayout,
      guard_command: guardCommandLayout,
      listener_key: listenerKeyLayout,
      listener_value: listenerValueLayout,
      witness: witnessLayout,
    };
    for (const [name, { sizeBytes }] of Object.entries(layouts)) expect(sizeBytes).toBe(struct(name).bytes);
  });

  it('have each field of an entry where it is read', () => {
    const layout = struct('guard_flow');
    // The end is there because its flag is.
    const numberOf = (name: string, i: number): number => (name === 'flags' ? guardFlags.ended : 17 + i);
    const value = fillStruct(layout, numberOf);
    const unread = new Set(['ifindex', 'header_bytes', 'l3_offset', 'l4_offset', 'reserved', 'header']);
    const expected: Record<string, unknown> = { flow };
    layout.fields.forEach(({ name, bytes }, i) => {
      const number = numberOf(name, i);
      if (!unread.has(name)) expected[camelCase(name)] = bytes === 8 ? BigInt(number) : number;
    });
    expect(Object.keys(expected)).toHaveLength(15);
    expect(decodeGuardedFlow(flow, value)).toEqual(expected);
    expect(decodeGuardedFlow(flow, Buffer.concat([Buffer.alloc(7), value]), 7)).toEqual(expected);
  });

  it('have each field of a command where it is written', () => {
    const layout = struct('guard_command');
    const numbers = {
      epoch: 2,
      flags: 3,
      lease: 4,
      committed: 0xffff_fff5,
      sentEnd: 6,
      windowScale: 7,
      finSeq: 8,
      birth: 9,
    };
    const frame = Buffer.alloc(commandAt + layout.bytes);
    encodeCommand({ op: 'remove', flow, ...numbers }, frame);
    const key = frame.subarray(commandAt, commandAt + flowKeyLayout.sizeBytes);
    expect(key).toEqual(Buffer.from(encodeFlowKey(flow)));
    expect(decodeKey(key, 0)).toEqual(flow);
    const read = Object.entries(readStruct(layout, frame, commandAt));
    expect(Object.fromEntries(read.map(([name, value]) => [camelCase(name), value]))).toEqual({
      op: guardOps.remove,
      ...numbers,
    });
    expect(commandAt).toBe(14);
  });

  it('know no more leases, verdicts, answers and flags than maps and programs do', () => {
    expect(maxLeases).toBe(1024);
    expect(guardVerdicts).toHaveLength(11);
    expect(guardVerdicts.slice(4, 7)).toEqual(['dropFin', 'dropRst', 'dropLease']);
    expect(guardResults).toEqual(['ok', 'emitted', 'stale', 'absent', 'full', 'invalid']);
    expect(guardFlags).toEqual({ guard: 1, gate: 2, ended: 4, resetOnFin: 8, mayReset: 16, finishes: 32 });
  });
});

describe('maps', () => {
  const directory = `${useBpfDirectory()}/pins`;
  let pins: GuardPins;
  beforeAll(() => {
    pins = ensureGuardPins({ pinDirectory: directory });
  });
  afterAll(() => {
    pins?.close();
    removeGuardPins(directory);
  });

  it('have a listener’s level and lease where they are', () => {
    createGuardControl(pins).setListener(flow.vip, 'periodic', 9);
    const key = Buffer.alloc(struct('listener_key').bytes);
    key.set(encodeFlowKey(flow).subarray(16, 32), 0);
    key.writeUInt16BE(7000, 16);
    const value = Buffer.alloc(struct('listener_value').bytes);
    expect(lookupElement(pins.maps.guard_listeners.value, key, value)).toBe(true);
    expect(readStruct(struct('listener_value'), value)).toEqual({ flags: guardFlags.guard, lease: 9 });
  });

  it('have the origin of a connection where its SYN-ACK put it', () => {
    const value = fillStruct(struct('half_open_flow'), (_name, i) => 1000 + i);
    updateElement(pins.maps.guard_half_open.value, Buffer.from(encodeFlowKey(flow)), value);
    const { committed, sent_end } = readStruct(struct('half_open_flow'), value);
    expect(createGuardControl(pins).originOf(flow)).toEqual({ clientStart: committed, sentEnd: sent_end });
  });

  it('have what a witness expects and has seen where it is', () => {
    const socket = new Fd(openSocket(2, 1, 0));
    try {
      const witness = attachWitness(pins, socket.value, { clientSeq: 11, writeSeq: 22 });
      const key = Buffer.alloc(8);
      getBufferOption(socket.value, solSocket, so.cookie, key);
      const value = Buffer.alloc(struct('witness').bytes);
      lookupElement(pins.witnesses.value, key, value);
      expect(readStruct(struct('witness'), value)).toMatchObject({
        expected_seq: 11,
        expected_ack: 22,
        seen: 0,
      });
      const filled = fillStruct(struct('witness'), (_name, i) => 31 + i);
      updateElement(pins.witnesses.value, key, filled);
      const { agreeing, contradicting, seq, ack, seen } = readStruct(struct('witness'), filled);
      expect(witness.read()).toEqual({ agreeing, contradicting, clientSeq: seq, ack, seen });
      witness.close();
    } finally {
      socket.close();
    }
  });
});

describe('a session’s birth number', () => {
  it('is never 0, which means not known, and differs with the id', () => {
    expect(birthOf('')).toBeGreaterThan(0);
    expect(new Set(Array.from({ length: 1000 }, (_, i) => birthOf(`session-${i}`))).size).toBe(1000);
  });
});
