/** Every verdict as a table {what, packet, verdict, packet afterwards}, run in the kernel without a network. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { encodeFlowKey, flowKeyBytes } from '@restitch/core';
import type { Flow, SocketAddress } from '@restitch/core';
import { lookupElement, testRun, updateElement } from '@restitch/sys/internal';
import { createControlProgram } from './control.js';
import type { Command, ControlProgram } from './control.js';
import { buildIcmpError, buildTcpFrame, tcpFlags } from './frames.js';
import type { TcpFrame } from './frames.js';
import { actionL2, endpointValueLayout, flowValueLayout, gaugesLayout, settingsLayout } from './layout.js';
import type { VerdictName } from './layout.js';
import { loadPinned, removePins } from './pins.js';
import type { LoadedPrograms } from './pins.js';
import { decodeRecord, readStats } from './records.js';
import { createServices } from './services.js';
import type { Services } from './services.js';
import { useBpfDirectory } from '../../../test/bpf-directory.js';

const redirect = 7;
const shot = 2;
const toHost = -1;
const pinDirectory = `${useBpfDirectory()}/pins`;
const port = 7000;

const families = {
  4: { vip: '10.9.0.100', client: '10.9.0.2', router: '10.1.1.1', other: '10.9.0.50' },
  6: { vip: 'fd09::100', client: 'fd09::2', router: 'fd01::1', other: 'fd09::50' },
} as const;

let programs: LoadedPrograms;
let control: ControlProgram;
let services: Services;
let nextPort = 1000;

beforeAll(() => {
  programs = loadPinned(pinDirectory, { maxFlows: 10_000, maxHalfOpen: 1000 });
  control = createControlProgram(programs.control.value, programs.maps.command_map.value);
  services = createServices(programs.maps);
});

afterAll(() => {
  control?.close();
  services?.close();
  for (const fd of [...Object.values(programs.maps), programs.steer, programs.reenter, programs.control])
    fd.close();
  removePins(pinDirectory);
});

interface Stage {
  /** Flows that still find room. */
  readonly room?: number;
  readonly isRebuilding?: boolean;
  readonly holdFlowBytes?: number;
}

/** Settings, endpoints 1 and 2, and 1 serving. Flows of earlier tests stay; every test has its own. */
function set(stage: Stage): void {
  const memory = Buffer.alloc(settingsLayout.sizeBytes);
  memory.writeUInt32LE(stage.isRebuilding === true ? 1 : 0, settingsLayout.rebuilding);
  memory.writeUInt32LE(1, settingsLayout.holdIfindex);
  memory.writeUInt32LE(gauge(gaugesLayout.flows) + (stage.room ?? 1000), settingsLayout.maxFlows);
  memory.writeUInt32LE(stage.holdFlowBytes ?? 100_000, settingsLayout.holdFlowBytes);
  memory.writeUInt32LE(1000, settingsLayout.holdFrames);
  memory.writeBigUInt64LE(1_000_000n, settingsLayout.holdTotalBytes);
  updateElement(programs.maps.settings_map.value, Buffer.alloc(4), memory);
  control.run([{ op: 'reset-held', flow: new Uint8Array(flowKeyBytes), epoch: 0 }]);
  setEndpoint(1);
  setEndpoint(2);
  serve([1]);
}

const macOf = (id: number): Buffer => Buffer.from([2, 0xee, 0, 0, 0, id]);
const ownMac = Buffer.from([2, 0xaa, 0, 0, 0, 9]);

function setEndpoint(id: number, state: 'known' | 'no-mac' | 'gone' = 'known'): void {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(id);
  const value = Buffer.alloc(endpointValueLayout.sizeBytes);
  macOf(id).copy(value, endpointValueLayout.destination);
  ownMac.copy(value, endpointValueLayout.source);
  value.writeUInt16LE(state === 'gone' ? 0 : actionL2, endpointValueLayout.action);
  value.writeUInt16LE(state === 'known' ? 1 : 0, endpointValueLayout.hasMac);
  value.writeUInt32LE(1, endpointValueLayout.ifindex);
  updateElement(programs.maps.endpoints.value, key, value);
}

function serve(endpointIds: readonly number[]): void {
  const backends = endpointIds.map((endpointId) => ({ endpointId, weight: 1 }));
  services.set(Object.values(families).map(({ vip }) => ({ address: vip, port, backends })));
}

interface Outcome {
  readonly retval: number;
  readonly frame: Buffer;
  readonly verdicts: readonly string[];
}

/** Runs a program on a frame; the verdicts are the counters that moved. */
function run(frame: Buffer, program: 'steer' | 'reenter' = 'steer'): Outcome {
  const before = readStats(programs.maps).verdicts;
  const data = Buffer.alloc(frame.length);
  frame.copy(data);
  const out = Buffer.alloc(frame.length + 64);
  const { retval, outBytes } = testRun(programs[program].value, { data, out });
  const after = readStats(programs.maps).verdicts;
  const verdicts = Object.keys(after).filter((name) => after[name] !== before[name]);
  return { retval, frame: Buffer.from(out.subarray(0, outBytes)), verdicts };
}

/** `frame` as it should leave for an endpoint. */
function towards(frame: Buffer, endpointId: number): Buffer {
  return Buffer.concat([macOf(endpointId), ownMac, frame.subarray(12)]);
}

function apply(...commands: Command[]): string[] {
  return control.run(commands).map((outcome) => outcome.result);
}

function record(flow: Flow): ReturnType<typeof decodeRecord> | undefined {
  const key = Buffer.alloc(flowKeyBytes);
  encodeFlowKey(flow, key);
  const value = Buffer.alloc(flowValueLayout.sizeBytes);
  return lookupElement(programs.maps.flows.value, key, value) ? decodeRecord(key, value, 0, 0) : undefined;
}

function outstanding(flow: Flow): number {
  const key = Buffer.alloc(flowKeyBytes);
  encodeFlowKey(flow, key);
  const value = Buffer.alloc(flowValueLayout.sizeBytes);
  lookupElement(programs.maps.flows.value, key, value);
  return value.readUInt16LE(5);
}

function gauge(at: number): number {
  const value = Buffer.alloc(gaugesLayout.sizeBytes);
  lookupElement(programs.maps.gauges_map.value, Buffer.alloc(4), value);
  return Number(value.readBigUInt64LE(at));
}

/** A packet that is built after the stage was changed. */
const after =
  (change: () => void, packet: () => Buffer): (() => Buffer) =>
  () => (change(), packet());

const soon = (): bigint => process.hrtime.bigint() + 60_000_000_000n;
const past = 1n;

beforeEach(() => set({}));

describe.each([4, 6] as const)('IPv%i', (family) => {
  const { vip, client, router, other } = families[family];
  const service: SocketAddress = { address: vip, port };

  const newFlow = (): Flow => ({ client: { address: client, port: ++nextPort }, vip: service });
  const segment = (flow: Flow, flags: number, more: Partial<TcpFrame> = {}): Buffer =>
    buildTcpFrame({ source: flow.client, destination: flow.vip, flags, ...more });
  const syn = (flow: Flow): Buffer => segment(flow, tcpFlags.syn);
  const ack = (flow: Flow, payload = ''): Buffer => segment(flow, tcpFlags.ack, { payload });
  const established = (endpointId = 1, epoch = 0): Flow => {
    const flow = newFlow();
    expect(apply({ op: 'claim', flow, epoch, endpointId })).toEqual(['ok']);
    return flow;
  };

  interface Row {
    readonly what: string;
    readonly verdict: VerdictName;
    readonly expected: 'same' | 'dropped' | number;
    readonly packet: () => Buffer;
  }
  /** Expected: the packet as it came, dropped, or rewritten for an endpoint; `packet` sets the stage and answers it. */
  const row = (what: string, verdict: VerdictName, expected: Row['expected'], packet: () => Buffer): Row => {
    return { what, verdict, expected, packet };
  };

  const rows: Row[] = [
    row('TCP to a port of the VIP that is no service', 'pass', 'same', () =>
      segment({ ...newFlow(), vip: { address: vip, port: 22 } }, tcpFlags.syn),
    ),
    row('TCP to another address', 'pass', 'same', () =>
      segment({ ...newFlow(), vip: { address: other, port } }, tcpFlags.ack),
    ),
    row('a later fragment to another address', 'pass', 'same', () =>
      segment({ ...newFlow(), vip: { address: other, port } }, tcpFlags.ack, {
        fragment: { id: 9, offset: 8, more: false },
        payload: 'x'.repeat(64),
      }),
    ),
    row('a frame that ends in the middle of its headers', 'pass', 'same', () =>
      ack(newFlow()).subarray(0, family === 4 ? 40 : 60),
    ),
    row('a SYN', 'syn', 1, () => syn(newFlow())),
    row('a SYN with a VLAN tag', 'syn', 1, () => segment(newFlow(), tcpFlags.syn, { vlan: 42 })),
    row('a SYN, after the set of endpoints changed', 'syn', 2, () => {
      serve([2]);
      return syn(newFlow());
    }),
    row('a SYN, after the next daemon changed the set of endpoints', 'syn', 2, () => {
      services.close();
      services = createServices(programs.maps);
      serve([2]);
      return syn(newFlow());
    }),
    row('a resent SYN, after the set of endpoints changed', 'syn', 1, () => {
      const flow = newFlow();
      run(syn(flow));
      serve([2]);
      return syn(flow);
    }),
    row("the client's ACK of a half-open flow", 'promoted', 1, () => {
      const flow = newFlow();
      run(syn(flow));
      serve([2]);
      return ack(flow);
    }),
    row('RST of a half-open flow', 'syn', 1, () => {
      const flow = newFlow();
      run(syn(flow));
      return segment(flow, tcpFlags.rst);
    }),
    row('data of an unknown flow', 'fallback', 1, () => ack(newFlow(), 'data')),
    row('data of a recorded flow', 'steered', 2, () => ack(established(2), 'data')),
    row('data of a recorded flow with a VLAN tag', 'steered', 2, () =>
      segment(established(2), tcpFlags.ack, { vlan: 7, payload: 'data' }),
    ),
    row('data of a recorded flow with an 802.1ad tag', 'steered', 2, () =>
      segment(established(2), tcpFlags.ack, { vlan: 7, vlanTypes: [0x88a8], payload: 'data' }),
    ),
    row('data of a recorded flow with an 802.1Q tag in an 802.1ad tag', 'steered', 2, () =>
      segment(established(2), tcpFlags.ack, { vlan: 7, vlanTypes: [0x88a8, 0x8100], payload: 'data' }),
    ),
    row('SYN of a recorded flow', 'steered', 2, () => syn(established(2))),
    row('RST of a recorded flow', 'steered', 2, () => segment(established(2), tcpFlags.rst)),
    row('data of a closing flow', 'steered', 2, () => {
      const flow = established(2);
      apply({ op: 'close', flow, epoch: 0, deadlineNs: soon() });
      return ack(flow);
    }),
    row('SYN on a closing flow', 'syn', 1, () => {
      const flow = established(2);
      apply({ op: 'close', flow, epoch: 0, deadlineNs: soon() });
      return syn(flow);
    }),
    row('data of a flow closed long ago', 'fallback', 1, () => {
      const flow = established(2);
      apply({ op: 'close', flow, epoch: 0, deadlineNs: past });
      return ack(flow);
    }),
    row('SYN on a flow whose owner is gone', 'syn', 1, () => {
      const flow = established(2);
      setEndpoint(2, 'gone');
      return syn(flow);
    }),
    row('data of a flow whose owner is gone', 'drop_no_target', 'dropped', () => {
      const flow = established(2);
      setEndpoint(2, 'gone');
      return ack(flow);
    }),
    row('data for an endpoint without a MAC', 'drop_no_target', 'dropped', () => {
      const flow = established(2);
      setEndpoint(2, 'no-mac');
      return ack(flow);
    }),
    row(
      'a SYN when no endpoint serves',
      'drop_no_backend',
      'dropped',
      after(
        () => serve([]),
        () => syn(newFlow()),
      ),
    ),
    row(
      'data of an unknown flow when no endpoint serves',
      'drop_no_backend',
      'dropped',
      after(
        () => serve([]),
        () => ack(newFlow()),
      ),
    ),
    row(
      'data of a recorded flow when no endpoint serves',
      'steered',
      2,
      after(
        () => serve([]),
        () => ack(established(2)),
      ),
    ),
    row(
      'a SYN while rebuilding',
      'drop_rebuilding',
      'dropped',
      after(
        () => set({ isRebuilding: true }),
        () => syn(newFlow()),
      ),
    ),
    row(
      'data of an unknown flow while rebuilding',
      'drop_rebuilding',
      'dropped',
      after(
        () => set({ isRebuilding: true }),
        () => ack(newFlow()),
      ),
    ),
    row(
      'data of a recorded flow while rebuilding',
      'steered',
      2,
      after(
        () => set({ isRebuilding: true }),
        () => ack(established(2)),
      ),
    ),
    row('a SYN when the table is full', 'drop_table_full', 'dropped', () => {
      set({ room: 3 });
      for (let i = 0; i < 3; i++) established();
      return syn(newFlow());
    }),
    row('the first fragment of a recorded flow', 'steered', 2, () =>
      segment(established(2), tcpFlags.ack, {
        fragment: { id: 77, offset: 0, more: true },
        payload: 'x'.repeat(44),
      }),
    ),
    row('a later fragment after its first', 'steered', 2, () => {
      const flow = established(2);
      run(
        segment(flow, tcpFlags.ack, {
          fragment: { id: 78, offset: 0, more: true },
          payload: 'x'.repeat(44),
        }),
      );
      return segment(flow, 0, { fragment: { id: 78, offset: 8, more: false }, payload: 'tail' });
    }),
    row('a later fragment whose first was not seen', 'drop_fragment', 'dropped', () =>
      segment(established(2), 0, { fragment: { id: 79, offset: 8, more: false }, payload: 'tail' }),
    ),
    row('"too big" about a recorded flow', 'icmp', 2, () => {
      const flow = established(2);
      return buildIcmpError({ reporter: router, quotedSource: service, quotedDestination: flow.client });
    }),
    row('"too big" about a half-open flow', 'icmp', 1, () => {
      const flow = newFlow();
      run(syn(flow));
      return buildIcmpError({ reporter: router, quotedSource: service, quotedDestination: flow.client });
    }),
    row('"too big" about an unknown flow of a service', 'drop_icmp', 'dropped', () =>
      buildIcmpError({ reporter: router, quotedSource: service, quotedDestination: newFlow().client }),
    ),
    row('"too big" about a connection of the host', 'pass', 'same', () =>
      buildIcmpError({
        reporter: router,
        quotedSource: { address: vip, port: 22 },
        quotedDestination: newFlow().client,
      }),
    ),
    row('"too big" about UDP', 'pass', 'same', () =>
      buildIcmpError({
        reporter: router,
        quotedSource: service,
        quotedDestination: established().client,
        quotedProtocol: 17,
      }),
    ),
    row('ping', 'pass', 'same', () =>
      buildIcmpError({
        reporter: router,
        quotedSource: service,
        quotedDestination: established().client,
        type: family === 4 ? 8 : 128,
      }),
    ),
    row('a held flow past its deadline, not frozen', 'steered', 2, () => {
      const flow = established(2);
      apply({ op: 'hold', flow, epoch: 0, deadlineNs: past, holdTag: 5 });
      return ack(flow);
    }),
    row('a frozen flow past its deadline', 'drop_frozen', 'dropped', () => {
      const flow = established(2);
      apply({ op: 'freeze', flow, epoch: 0, deadlineNs: past, holdTag: 5 });
      return ack(flow);
    }),
    row('a held flow over its bound', 'drop_hold_full', 'dropped', () => {
      set({ holdFlowBytes: 300 });
      const flow = established(2);
      apply({ op: 'hold', flow, epoch: 0, deadlineNs: soon(), holdTag: 5 });
      run(ack(flow, 'x'.repeat(200)));
      return ack(flow, 'x'.repeat(200));
    }),
  ];
  if (family === 6) {
    rows.push(
      row('a segment behind an extension header', 'steered', 2, () =>
        segment(established(2), tcpFlags.ack, { hasExtension: true, payload: 'x' }),
      ),
    );
  }

  it.each(rows)('$what: $verdict', ({ packet, verdict, expected }) => {
    const frame = packet();
    const outcome = run(frame);
    expect(outcome.verdicts).toEqual([verdict]);
    expect(outcome.retval).toBe(expected === 'same' ? toHost : expected === 'dropped' ? shot : redirect);
    expect(outcome.frame).toEqual(typeof expected === 'number' ? towards(frame, expected) : frame);
  });

  it('serves a half-open flow that finds no room, and counts it', () => {
    set({ room: 1 });
    const flow = newFlow();
    run(syn(flow));
    const kept = established(2);
    const outcome = run(ack(flow));
    expect(outcome.verdicts).toEqual(expect.arrayContaining(['table_full', 'syn']));
    expect(outcome.retval).toBe(redirect);
    expect(record(flow)).toBeUndefined();
    expect(record(kept)).toMatchObject({ endpointId: 2 });
    expect(apply({ op: 'claim', flow, epoch: 0, endpointId: 1 })).toEqual(['full']);
  });

  it('counts packets and bytes of a flow and notes the RST', () => {
    const sent = (): bigint =>
      readStats(programs.maps).endpoints.find((e) => e.endpointId === 2)?.packets ?? 0n;
    const before = sent();
    const flow = established(2);
    const frame = ack(flow, 'x'.repeat(100));
    run(frame);
    run(frame);
    expect(record(flow)).toMatchObject({ packets: 2n, bytes: BigInt(2 * frame.length), sawReset: false });
    run(segment(flow, tcpFlags.rst | tcpFlags.ack));
    expect(record(flow)).toMatchObject({ packets: 3n, sawReset: true });
    expect(sent() - before).toBe(3n);
  });

  it('holds frames under the tag, delivers them through re-entry, and keeps fresh ones behind', () => {
    const flow = established(2);
    apply({ op: 'hold', flow, epoch: 0, deadlineNs: soon(), holdTag: 0xa1b2c3d4 });
    const frame = ack(flow, 'held');
    const held = run(frame);
    expect(held).toMatchObject({ retval: redirect, verdicts: ['held'] });
    expect(held.frame.subarray(0, 6).toString('hex')).toBe('0200a1b2c3d4');
    expect(outstanding(flow)).toBe(1);
    expect(gauge(gaugesLayout.heldBytes)).toBe(frame.length);

    // Written back too early it goes into the device again and is counted once.
    expect(run(held.frame, 'reenter').frame.subarray(0, 6).toString('hex')).toBe('0200a1b2c3d4');
    expect(outstanding(flow)).toBe(1);

    apply({ op: 'freeze', flow, epoch: 0, deadlineNs: soon() });
    expect(apply({ op: 'switch', flow, epoch: 0, newEpoch: 1, endpointId: 1 })).toEqual(['ok']);
    expect(apply({ op: 'release', flow, epoch: 1, deadlineNs: soon() })).toEqual(['ok']);
    expect(record(flow)).toMatchObject({ phase: 'releasing', endpointId: 1, epoch: 1 });

    expect(run(frame).verdicts).toEqual(['held']);
    expect(apply({ op: 'settle', flow, epoch: 1 })).toEqual(['phase']);
    for (let i = 0; i < 2; i++) {
      const outcome = run(held.frame, 'reenter');
      expect(outcome).toMatchObject({ retval: redirect, verdicts: ['released'] });
      expect(outcome.frame).toEqual(towards(frame, 1));
    }
    expect(gauge(gaugesLayout.heldBytes)).toBe(0);
    expect(gauge(gaugesLayout.heldFrames)).toBe(0);
    expect(apply({ op: 'settle', flow, epoch: 1 })).toEqual(['ok']);
    expect(run(frame).frame).toEqual(towards(frame, 1));
    expect(record(flow)).toMatchObject({ phase: 'active', packets: 3n });
  });

  it('holds later fragments and ICMP errors of a held flow too', () => {
    const flow = established(2);
    apply({ op: 'hold', flow, epoch: 0, deadlineNs: soon(), holdTag: 9 });
    run(segment(flow, tcpFlags.ack, { fragment: { id: 5, offset: 0, more: true }, payload: 'x'.repeat(44) }));
    expect(
      run(segment(flow, 0, { fragment: { id: 5, offset: 8, more: false }, payload: 'y' })).verdicts,
    ).toEqual(['held']);
    const tooBig = buildIcmpError({
      reporter: router,
      quotedSource: service,
      quotedDestination: flow.client,
    });
    expect(run(tooBig).verdicts).toEqual(['held']);
    expect(outstanding(flow)).toBe(3);
  });

  it('keeps fresh frames behind what a hold that has run out still has under way', () => {
    const flow = established(2);
    const now = process.hrtime.bigint();
    apply({ op: 'hold', flow, epoch: 0, deadlineNs: soon(), holdTag: 4 });
    const held = run(ack(flow));
    // Just over; the grace of 50 ms is what a slow machine has for the next line.
    apply({ op: 'hold', flow, epoch: 0, deadlineNs: now });
    const fresh = run(ack(flow));
    if (process.hrtime.bigint() - now < 50_000_000n) expect(fresh.verdicts).toEqual(['held']);
    for (let left = outstanding(flow); left > 0; left--)
      expect(run(held.frame, 'reenter').verdicts).toEqual(['released']);
    expect(run(ack(flow)).verdicts).toEqual(['steered']);
  });

  it('drops a held frame that comes back after the frozen deadline, and closes its account', () => {
    const flow = established(2);
    apply({ op: 'freeze', flow, epoch: 0, deadlineNs: soon(), holdTag: 3 });
    const held = run(ack(flow));
    apply({ op: 'freeze', flow, epoch: 0, deadlineNs: past });
    expect(run(held.frame, 'reenter')).toMatchObject({
      retval: shot,
      verdicts: expect.arrayContaining(['drop_frozen']),
    });
    expect(outstanding(flow)).toBe(0);
    expect(gauge(gaugesLayout.heldFrames)).toBe(0);
  });
});
