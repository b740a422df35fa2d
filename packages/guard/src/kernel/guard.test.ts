import type { Flow } from '@restitch/core';
import { testRun } from '@restitch/sys/internal';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildFrame, etherTypes, type Frame, parseFrame, type ParsedFrame } from './frames.js';
import { afterMove, type EgressVerdict, judgeEgress } from '../rules.js';
import { createGuardControl, type GuardControl } from './guard-control.js';
import { ensureGuardPins, type GuardPins, removeGuardPins } from './guard-pins.js';
import { encodeCommand, type GuardCommand, guardResults } from './layout.js';
import { useBpfDirectory } from '../../../../test/bpf-directory.js';

const directory = `${useBpfDirectory()}/pins`;
let pins: GuardPins;
let guard: GuardControl;

beforeAll(() => {
  pins = ensureGuardPins({ pinDirectory: directory });
  guard = createGuardControl(pins);
});
afterAll(() => {
  pins?.close();
  removeGuardPins(directory);
});

const flows: ReadonlyArray<readonly [string, Flow]> = [
  ['IPv4', { client: { address: '10.9.0.2', port: 40001 }, vip: { address: '10.9.0.100', port: 7000 } }],
  ['IPv6', { client: { address: 'fd00::2', port: 40001 }, vip: { address: 'fd00::100', port: 7000 } }],
];
const timestamps = Buffer.from('0101080a0000000500000007', 'hex');
const sackBlock = (from: number, to: number): Buffer => {
  const out = Buffer.from('0101050a0000000000000000', 'hex');
  out.writeUInt32BE(from, 4);
  out.writeUInt32BE(to, 8);
  return out;
};

/** Runs a frame through the egress program; undefined if it was dropped. */
function egress(frame: Partial<Frame> & Pick<Frame, 'flow'>): ParsedFrame | undefined {
  const out = Buffer.alloc(4096);
  const { retval, outBytes } = testRun(pins.egress.value, { data: buildFrame(frame), out });
  return retval === 0 ? parseFrame(out.subarray(0, outBytes)) : undefined;
}

/** Runs a command and shows the frame that was built for emission. */
function command(c: GuardCommand): { result: string; frame: Buffer } {
  const data = Buffer.alloc(128);
  encodeCommand(c, data);
  const out = Buffer.alloc(256);
  const { retval, outBytes } = testRun(pins.control.value, { data, out });
  return { result: guardResults[retval] ?? '?', frame: out.subarray(0, outBytes) };
}

/** What became of a frame: as it was, lowered, reset, gone. */
function saysOf(
  left: ParsedFrame | undefined,
  frame: { readonly flags: string; readonly ack: number },
): string {
  if (left === undefined) return 'gone';
  if (!left.isSound) return 'broken';
  const isReset = frame.flags.includes('F') && left.flags.includes('R');
  return isReset ? 'reset' : left.ack === frame.ack ? 'as it was' : `lowered to ${left.ack}`;
}

function expectation(
  verdict: EgressVerdict,
  frame: { readonly flags: string; readonly ack: number; readonly payload: Buffer },
): string {
  if (verdict !== 'gate') return { pass: 'as it was', drop: 'gone', reset: 'reset' }[verdict];
  if (frame.ack <= 5000) return 'as it was';
  return frame.flags === 'A' ? 'gone' : 'lowered to 5000';
}

describe.each(flows)('the guard over %s', (_name, flow) => {
  const register = (over: Partial<Parameters<GuardControl['register']>[1]> = {}): string =>
    guard.register(flow, {
      epoch: 1,
      level: 'commit',
      lease: 0,
      committed: 5000,
      sentEnd: 1000,
      windowScale: 7,
      ...over,
    });

  beforeEach(() => {
    const known = guard.lookup(flow);
    if (known !== undefined) guard.remove(flow, known.epoch);
    guard.removeListener(flow.vip);
  });

  it('lets unknown flows of unknown listeners pass untouched', () => {
    const frame = { flow, flags: 'RA', payload: Buffer.from('x'), options: timestamps };
    expect(egress(frame)).toEqual(parseFrame(buildFrame(frame)));
  });

  it('lets acknowledgements of committed bytes pass untouched, with all options', () => {
    register();
    const frame = { flow, ack: 5000, options: Buffer.concat([timestamps, sackBlock(6000, 7000)]) };
    expect(egress(frame)).toEqual(parseFrame(buildFrame(frame)));
  });

  it('withholds a pure acknowledgement above the committed byte', () => {
    register();
    expect(egress({ flow, ack: 5001 })).toBeUndefined();
    expect(guard.lookup(flow)).toMatchObject({ withheldAck: 5001, withheld: 1n });
  });

  it('lowers the acknowledgement of a data segment, keeps the window’s right edge and the checksum', () => {
    register();
    const frame = { flow, ack: 6280, window: 50, options: timestamps, payload: Buffer.from('data') };
    const left = egress(frame);
    expect(left).toMatchObject({ ack: 5000, window: 60, isSound: true, options: timestamps });
    expect(left?.payload.toString()).toBe('data');
  });

  it('never announces a window beyond 65,535', () => {
    register({ windowScale: 0 });
    expect(egress({ flow, ack: 5900, window: 65_000, payload: Buffer.from('x') })).toMatchObject({
      window: 65_535,
      isSound: true,
    });
  });

  it.each([
    ['one block', sackBlock(7000, 8000)],
    ['one block behind timestamps', Buffer.concat([timestamps, sackBlock(7000, 8000)])],
    [
      'blocks that fill the header',
      Buffer.concat([timestamps, Buffer.from(`0101051a${'00001b5800001f40'.repeat(3)}`, 'hex')]),
    ],
  ])('takes %s out of a segment whose acknowledgement it lowers', (_what, options) => {
    register();
    const left = egress({ flow, ack: 6000, options, payload: Buffer.from('x') });
    expect(left).toMatchObject({ ack: 5000, isSound: true });
    const expected = Buffer.from(options);
    expected.fill(1, options.indexOf('0101050a', 'hex') >= 0 ? options.indexOf('0101050a', 'hex') : 12);
    expect(left?.options).toEqual(expected);
  });

  it('compares sequence numbers round the wrap', () => {
    register({ committed: 0xffff_fff0 });
    expect(egress({ flow, ack: 0x10 })).toBeUndefined();
    expect(guard.commit(flow, 1, 0x10)).toBe('emitted');
    expect(egress({ flow, ack: 0x10 })).toMatchObject({ ack: 0x10 });
    expect(guard.commit(flow, 1, 0xffff_fff0)).toBe('ok');
    expect(guard.lookup(flow)?.committed).toBe(0x10);
  });

  it('sends what it withheld when it is committed: newest header, our newest sequence number, right checksums', () => {
    register();
    egress({ flow, seq: 1000, ack: 5500, window: 70, options: timestamps });
    egress({
      flow,
      seq: 1000,
      ack: 6000,
      window: 60,
      options: Buffer.concat([timestamps, sackBlock(7000, 8000)]),
    });
    const { result, frame } = command({ op: 'commit', flow, epoch: 1, committed: 6000 });
    expect(result).toBe('emitted');
    expect(parseFrame(frame)).toMatchObject({ ack: 6000, seq: 1000, window: 60, flags: 'A', isSound: true });
    expect(parseFrame(frame).options).toEqual(Buffer.concat([timestamps, sackBlock(7000, 8000)]));
    expect(command({ op: 'commit', flow, epoch: 1, committed: 6000 }).result).toBe('ok');
  });

  it('sends a part when a part is committed, without SACK blocks over what it holds back, and the rest later', () => {
    register();
    egress({ flow, ack: 6280, window: 50, options: sackBlock(7000, 8000) });
    const part = command({ op: 'commit', flow, epoch: 1, committed: 5640 });
    expect(parseFrame(part.frame)).toMatchObject({ ack: 5640, window: 55, isSound: true });
    expect(parseFrame(part.frame).options).toEqual(Buffer.alloc(12, 1));
    expect(guard.lookup(flow)?.withheldSinceNs).not.toBe(0n);
    expect(parseFrame(command({ op: 'commit', flow, epoch: 1, committed: 9000 }).frame).ack).toBe(6280);
    expect(guard.lookup(flow)?.withheldSinceNs).toBe(0n);
  });

  it('acknowledges what a data segment could not, as a pure acknowledgement behind that data', () => {
    register();
    egress({ flow, seq: 1000, ack: 6000, flags: 'PA', payload: Buffer.alloc(500) });
    const { frame } = command({ op: 'commit', flow, epoch: 1, committed: 6000 });
    expect(parseFrame(frame)).toMatchObject({ seq: 1500, ack: 6000, flags: 'A', isSound: true });
    expect(parseFrame(frame).payload).toHaveLength(0);
  });

  it('does not let a retransmission make an emitted acknowledgement old', () => {
    register();
    egress({ flow, seq: 1000, ack: 5000, payload: Buffer.alloc(800) });
    egress({ flow, seq: 1000, ack: 6000, payload: Buffer.alloc(100) });
    expect(parseFrame(command({ op: 'commit', flow, epoch: 1, committed: 6000 }).frame).seq).toBe(1800);
  });

  it('lets our own keepalive and window probes leave, lowered', () => {
    register({ sentEnd: 2000 });
    expect(egress({ flow, seq: 1999, ack: 6000 })).toMatchObject({ seq: 1999, ack: 5000, isSound: true });
  });

  it('counts the client’s FIN as a sequence number of its own', () => {
    register();
    expect(egress({ flow, ack: 5001 })).toBeUndefined();
    expect(guard.commit(flow, 1, 5000)).toBe('ok');
    expect(guard.commit(flow, 1, 5001)).toBe('emitted');
  });

  it.each([
    ['FIN', 'FA', 'dropFin'],
    ['RST', 'RA', 'dropRst'],
    ['bare RST', 'R', 'dropRst'],
  ] as const)('drops a %s nobody asked for, with what it carries', (_what, flags, verdict) => {
    for (const level of ['periodic', 'commit'] as const) {
      register({ level });
      const before = guard.verdicts()[verdict];
      expect(egress({ flow, flags, payload: Buffer.from('tail') })).toBeUndefined();
      expect(guard.verdicts()[verdict]).toBe(before + 1n);
      guard.remove(flow, 1);
    }
  });

  it.each([
    ['bare, at the end', 2000, 0, true],
    ['with the last bytes before it', 1500, 500, true],
    ['with a super packet of last bytes', 2000 - 3000, 3000, true],
    ['a byte early', 1999, 0, false],
    ['a byte late', 2001, 0, false],
    ['with a byte too few', 1500, 499, false],
    ['whose sequence number alone is the end', 2000, 500, false],
  ])('lets our FIN stand at the promised end only: %s', (_what, seq, bytes, passes) => {
    register({ sentEnd: 500 });
    expect(guard.end(flow, 1, 2000)).toBe('ok');
    const frame = { flow, seq: seq >>> 0, flags: 'FA', payload: Buffer.alloc(bytes, 'x') };
    expect(egress(frame)).toEqual(passes ? parseFrame(buildFrame(frame)) : undefined);
    expect(egress({ flow, seq: 1000, payload: Buffer.from('data') })).toBeDefined();
  });

  it.each([
    ['at the last number', 0xffff_ffff, 0xffff_fff0, 15],
    ['at number 0', 0, 0xffff_fff0, 16],
    ['behind the wrap', 0x10, 0xffff_fff0, 32],
  ])('finds the end round the wrap: %s', (_what, finSeq, seq, bytes) => {
    register({ sentEnd: 0xffff_ff00 });
    guard.end(flow, 1, finSeq);
    expect(egress({ flow, seq, flags: 'FA', payload: Buffer.alloc(bytes) })).toMatchObject({ flags: 'FA' });
    expect(egress({ flow, seq, flags: 'FA', payload: Buffer.alloc(bytes - 1) })).toBeUndefined();
    expect(guard.lookup(flow)).toMatchObject({ finSeq, sentEnd: (finSeq + 1) >>> 0 });
  });

  it('promises an end once: another place is invalid, by an end and by a registration of the same owner', () => {
    register();
    expect(guard.end(flow, 1, 2000)).toBe('ok');
    expect(guard.end(flow, 1, 2000)).toBe('ok');
    expect(guard.end(flow, 1, 2001)).toBe('invalid');
    expect(register({ finSeq: 2001 })).toBe('invalid');
    expect(register()).toBe('ok');
    expect(guard.lookup(flow)?.finSeq).toBe(2000);
    expect(register({ epoch: 2, finSeq: 3000 })).toBe('ok');
    expect(guard.lookup(flow)?.finSeq).toBe(3000);
    expect(register({ epoch: 3 })).toBe('ok');
    expect(guard.lookup(flow)?.finSeq).toBeUndefined();
  });

  it('takes the end of a session that comes here with its registration', () => {
    register({ finSeq: 2000 });
    expect(egress({ flow, seq: 2000, flags: 'FA' })).toMatchObject({ flags: 'FA' });
    expect(egress({ flow, seq: 2001, flags: 'FA' })).toBeUndefined();
    expect(guard.end(flow, 1, 2000)).toBe('ok');
    expect(guard.end(flow, 1, 1999)).toBe('invalid');
  });

  it('takes neither an end nor a reset of another epoch, or of a flow it does not know', () => {
    register({ epoch: 4 });
    for (const epoch of [3, 5]) {
      expect(guard.end(flow, epoch, 2000)).toBe('stale');
      expect(guard.allowReset(flow, epoch)).toBe('stale');
    }
    expect(egress({ flow, seq: 2000, flags: 'FA' })).toBeUndefined();
    expect(egress({ flow, flags: 'RA' })).toBeUndefined();
    guard.remove(flow, 4);
    expect(guard.end(flow, 4, 2000)).toBe('absent');
    expect(guard.allowReset(flow, 4)).toBe('absent');
  });

  it('lets an RST pass once the application resets it, and no FIN, and with no uncommitted acknowledgement', () => {
    register();
    expect(guard.allowReset(flow, 1)).toBe('ok');
    expect(egress({ flow, flags: 'RA', ack: 9000 })).toMatchObject({ flags: 'RA', ack: 5000, isSound: true });
    expect(egress({ flow, flags: 'FA' })).toBeUndefined();
    register();
    expect(egress({ flow, flags: 'R' })).toBeDefined();
    register({ epoch: 2 });
    expect(egress({ flow, flags: 'R' })).toBeUndefined();
  });

  it('keeps the gate after the end: the client’s last bytes and its FIN wait for their commit', () => {
    register({ sentEnd: 2000 });
    guard.end(flow, 1, 2000);
    // FIN_WAIT1: our FIN again, with more acknowledged by the kernel than is committed.
    expect(egress({ flow, seq: 2000, ack: 5100, flags: 'FA' })).toMatchObject({ ack: 5000, isSound: true });
    // FIN_WAIT2, then TIME_WAIT: pure acknowledgements of the client's rest and FIN, behind our FIN.
    expect(egress({ flow, seq: 2001, ack: 5100 })).toBeUndefined();
    expect(egress({ flow, seq: 2001, ack: 5101 })).toBeUndefined();
    const part = command({ op: 'commit', flow, epoch: 1, committed: 5100 });
    expect(parseFrame(part.frame)).toMatchObject({ seq: 2001, ack: 5100, flags: 'A', isSound: true });
    expect(egress({ flow, seq: 2001, ack: 5101 })).toBeUndefined();
    const rest = command({ op: 'commit', flow, epoch: 1, committed: 5101 });
    expect(parseFrame(rest.frame)).toMatchObject({ seq: 2001, ack: 5101, isSound: true });
    expect(egress({ flow, seq: 2001, ack: 5101 })).toMatchObject({ ack: 5101 });
  });

  it('turns the FIN of a dying process at level none into a RST: no silent truncation', () => {
    register({ level: 'none' });
    expect(egress({ flow, seq: 1000, flags: 'FA' })).toMatchObject({ flags: 'RA', isSound: true });
    guard.end(flow, 1, 2000);
    const payload = Buffer.alloc(600, 'x');
    expect(egress({ flow, seq: 1000, flags: 'FA', payload })).toMatchObject({ flags: 'RA', isSound: true });
    expect(egress({ flow, seq: 2000, flags: 'FA' })).toMatchObject({ flags: 'FA', isSound: true });
  });

  it.each(['none', 'periodic'] as const)(
    'lets the kernel finish at level %s what the application has ended, though the lease has',
    (level) => {
      guard.setLease(7, process.hrtime.bigint() + 60_000_000_000n);
      register({ level, lease: 7 });
      expect(guard.end(flow, 1, 2000)).toBe('ok');
      guard.setLease(7, 0n);
      for (const frame of [
        { flow, seq: 1000, ack: 9000, payload: Buffer.alloc(1000) },
        { flow, seq: 2000, ack: 9000, flags: 'FA' },
        { flow, seq: 2001, ack: 9000 },
        { flow, seq: 2001, ack: 9000, flags: 'R' },
      ]) {
        expect(egress(frame)).toEqual(parseFrame(buildFrame(frame)));
      }
      // It died with its last bytes: nobody goes on, so that is told, too.
      expect(egress({ flow, seq: 1500, flags: 'FA' })).toMatchObject({ flags: 'RA', isSound: true });
    },
  );

  it('lets no end at level periodic leave of who may have slept through a take-over', () => {
    guard.setLease(7, 1n);
    register({ level: 'periodic', lease: 7 });
    expect(guard.end(flow, 1, 2000)).toBe('ok');
    const fin = { flow, seq: 2000, flags: 'FA' };
    expect(egress(fin)).toBeUndefined();
    expect(egress({ flow, flags: 'R' })).toBeUndefined();
    guard.setLease(7, process.hrtime.bigint() + 60_000_000_000n);
    expect(egress(fin)).toMatchObject({ flags: 'FA' });
    guard.setLease(7, 1n);
    expect(egress(fin)).toMatchObject({ flags: 'FA' });
  });

  it.each(['none', 'periodic', 'commit'] as const)(
    'tells the client of a connection at level %s that nobody has accepted, also without a lease',
    (level) => {
      for (const endsAtNs of [0n, process.hrtime.bigint() + 60_000_000_000n]) {
        guard.setLease(7, endsAtNs);
        guard.setListener(flow.vip, level, 7);
        guard.setLease(7, process.hrtime.bigint() + 60_000_000_000n);
        egress({ flow, flags: 'SA', seq: 999, ack: 5000 });
        guard.setLease(7, endsAtNs);
        expect(egress({ flow, seq: 1000, ack: 5300, flags: 'FA' })).toMatchObject({ flags: 'RA' });
        expect(egress({ flow, seq: 1000, ack: 5300, flags: 'RA' })).toMatchObject({ flags: 'RA' });
        expect(guard.lookup(flow)?.epoch).toBe(0);
        if (level === 'commit') expect(egress({ flow, seq: 1000, ack: 5300 })).toBeUndefined();
        expect(guard.commit(flow, 0, 5300)).toBe('stale');
        // From its acceptance on it is like any other.
        register({ level, lease: 7, committed: 5000 });
        const fate = egress({ flow, seq: 1000, flags: 'RA' });
        expect(fate === undefined).toBe(level !== 'none');
        guard.remove(flow, 1);
      }
      guard.removeListener(flow.vip);
    },
  );

  it.each(['none', 'periodic', 'commit'] as const)(
    'swallows what stray packets draw for a session at level %s that was moved away',
    (level) => {
      register({ level, finSeq: 2000 });
      guard.allowReset(flow, 1);
      expect(guard.movedAway(flow, 2)).toBe('stale');
      expect(guard.movedAway(flow, 1)).toBe('ok');
      for (const flags of ['R', 'RA', 'FA']) expect(egress({ flow, seq: 2000, flags })).toBeUndefined();
      expect(
        afterMove({ level, epoch: 1, finSeq: 2000, mayReset: true, isLeased: true, wasLeased: true }),
      ).toEqual({
        level: 'periodic',
        epoch: 1,
        finSeq: guard.lookup(flow)?.finSeq,
        mayReset: false,
        isLeased: true,
        wasLeased: true,
      });
      expect(register({ level, epoch: 3, finSeq: 2000 })).toBe('ok');
      expect(egress({ flow, seq: 2000, flags: 'FA' })).toBeDefined();
    },
  );

  it('does in every case what the rule says that the models go by', () => {
    const places = { nowhere: undefined, 'at 2000': 2000, 'at 2500': 2500 };
    let cases = 0;
    for (const level of ['none', 'periodic', 'commit'] as const)
      for (const epoch of [0, 1])
        for (const finSeq of Object.values(places))
          for (const mayReset of [false, true])
            for (const [wasLeased, isLeased] of [
              [false, false],
              [true, false],
              [true, true],
            ] as const) {
              const setLease = (runs: boolean): void =>
                guard.setLease(7, runs ? process.hrtime.bigint() + 60_000_000_000n : 0n);
              setLease(wasLeased);
              register({ level, epoch, lease: 7, finSeq, sentEnd: 2000 });
              setLease(isLeased);
              if (mayReset) guard.allowReset(flow, epoch);
              const entry = { level, epoch, finSeq, mayReset, isLeased, wasLeased };
              for (const flags of ['A', 'PA', 'FA', 'FPA', 'RA', 'R'])
                for (const bytes of flags.includes('P') ? [500] : [0])
                  for (const ack of [5000, 5001]) {
                    const seq = bytes > 0 ? 1500 : 2000;
                    const frame = { flow, seq, ack, flags, payload: Buffer.alloc(bytes, 'x') };
                    const segment = { fin: flags.includes('F'), rst: flags.includes('R'), at: seq + bytes };
                    const what = JSON.stringify({ ...entry, flags, ack });
                    expect(saysOf(egress(frame), frame), what).toBe(
                      expectation(judgeEgress(entry, segment), frame),
                    );
                    cases++;
                  }
              guard.remove(flow, epoch);
            }
    expect(cases).toBe(3 * 2 * 3 * 2 * 3 * 12);
  });

  it('lets nothing leave without a lease: data, retransmissions, acknowledgements, FIN, RST, emitted ones', () => {
    guard.setLease(7, process.hrtime.bigint() + 60_000_000_000n);
    register({ lease: 7 });
    expect(egress({ flow, payload: Buffer.from('x') })).toBeDefined();
    guard.setLease(7, process.hrtime.bigint() - 1n);
    const before = guard.verdicts().dropLease;
    for (const flags of ['A', 'PA', 'FA', 'RA', 'R']) expect(egress({ flow, flags })).toBeUndefined();
    guard.end(flow, 1, 1000);
    guard.allowReset(flow, 1);
    for (const flags of ['FA', 'R']) expect(egress({ flow, flags })).toBeUndefined();
    expect(guard.verdicts().dropLease).toBe(before + 7n);
    guard.setLease(7, 0n);
    expect(egress({ flow })).toBeUndefined();
  });

  it.each([
    ['without a VLAN tag', []],
    ['with an 802.1Q tag', [etherTypes.vlan]],
    ['with an 802.1ad tag', [etherTypes.providerVlan]],
    ['with an 802.1ad tag and an 802.1Q tag in it', [etherTypes.providerVlan, etherTypes.vlan]],
  ])('is the same guard for frames %s', (_what, tags) => {
    const options = Buffer.concat([timestamps, sackBlock(7000, 8000)]);
    guard.setLease(7, process.hrtime.bigint() + 60_000_000_000n);
    register({ lease: 7 });
    const data = { flow, tags, ack: 6280, window: 50, options, payload: Buffer.from('data') };
    expect(egress(data)).toMatchObject({ tags, ack: 5000, window: 60, isSound: true });
    expect(egress({ flow, tags, flags: 'FA' })).toBeUndefined();
    expect(egress({ flow, tags, flags: 'RA' })).toBeUndefined();
    expect(egress({ flow, tags, seq: 1004, ack: 6280, options })).toBeUndefined();
    const { result, frame } = command({ op: 'commit', flow, epoch: 1, committed: 6280 });
    expect(result).toBe('emitted');
    expect(parseFrame(frame)).toMatchObject({ flow: parseFrame(buildFrame(data)).flow, tags, options });
    expect(parseFrame(frame)).toMatchObject({ seq: 1004, ack: 6280, flags: 'A', isSound: true });
    guard.setLease(7, 0n);
    const before = guard.verdicts().dropLease;
    for (const flags of ['A', 'PA', 'FA', 'RA', 'R']) expect(egress({ flow, tags, flags })).toBeUndefined();
    expect(guard.verdicts().dropLease).toBe(before + 5n);
    // The SYN-ACK of a listener without a lease, and what follows a handshake nobody has seen.
    guard.remove(flow, 1);
    guard.setListener(flow.vip, 'commit', 7);
    for (const flags of ['SA', 'A']) expect(egress({ flow, tags, flags })).toBeUndefined();
    guard.removeListener(flow.vip);
  });

  it('closes the gate at the SYN, before any application knows of the connection', () => {
    guard.setListener(flow.vip, 'commit', 0);
    expect(
      egress({ flow, flags: 'SA', seq: 99, ack: 5000, options: Buffer.from('0303070002040564', 'hex') }),
    ).toBeDefined();
    expect(guard.originOf(flow)).toEqual({ clientStart: 5000, sentEnd: 100 });
    expect(egress({ flow, seq: 100, ack: 5300 })).toBeUndefined();
    expect(guard.originOf(flow)).toEqual({ clientStart: 5000, sentEnd: 100 });
    expect(guard.lookup(flow)?.windowScale).toBe(7);
    register({ epoch: 3, committed: 5000 });
    expect(parseFrame(command({ op: 'commit', flow, epoch: 3, committed: 5300 }).frame)).toMatchObject({
      ack: 5300,
      isSound: true,
    });
  });

  it('acknowledges nothing for a connection of a gated listener whose SYN it has not seen', () => {
    guard.setListener(flow.vip, 'commit', 0);
    expect(egress({ flow, ack: 5300 })).toBeUndefined();
    expect(egress({ flow, flags: 'R' })).toBeDefined();
    expect(guard.lookup(flow)).toBeUndefined();
  });

  it('refuses nobody in the name of a listener whose process is away: the next SYN may find another one', () => {
    const refusal = { flow, flags: 'RA', seq: 0, ack: 77 };
    expect(egress(refusal)).toBeDefined();
    for (const level of ['none', 'periodic', 'commit'] as const) {
      guard.setListener(flow.vip, level, 0);
      expect(egress(refusal)).toBeUndefined();
      expect(egress({ ...refusal, seq: 1 })).toBeDefined();
    }
  });

  it('refuses an old epoch, and a gate of another epoch stays shut', () => {
    register({ epoch: 4 });
    expect(register({ epoch: 3, committed: 9000 })).toBe('stale');
    expect(guard.commit(flow, 3, 9000)).toBe('stale');
    expect(guard.commit(flow, 5, 9000)).toBe('stale');
    expect(guard.remove(flow, 3)).toBe('stale');
    expect(egress({ flow, ack: 9000 })).toBeUndefined();
    expect(register({ epoch: 5, committed: 4000 })).toBe('ok');
    expect(guard.lookup(flow)).toMatchObject({ epoch: 5, committed: 5000 });
  });

  it('forgets what the former socket of a flow that comes back sent and kept back, not what was acknowledged', () => {
    register({ epoch: 4 });
    egress({ flow, ack: 9000 });
    expect(guard.lookup(flow)?.withheldSinceNs).toBeGreaterThan(0n);
    expect(register({ epoch: 7, sentEnd: 777_777 })).toBe('ok');
    expect(guard.lookup(flow)).toMatchObject({
      epoch: 7,
      committed: 5000,
      sentEnd: 777_777,
      withheldSinceNs: 0n,
    });
  });

  it('tells a connection from an earlier one on the same ports, whose epochs say nothing', () => {
    register({ epoch: 5, session: 'old', committed: 0x9000_0000, finSeq: 7 });
    expect(register({ epoch: 2, session: 'new', committed: 100, sentEnd: 300 })).toBe('ok');
    expect(guard.lookup(flow)).toMatchObject({ epoch: 2, committed: 100, sentEnd: 300, finSeq: undefined });
    expect(guard.remove(flow, 2, 'old')).toBe('stale');
    expect(register({ epoch: 1, session: 'new' })).toBe('stale');
    expect(register({ epoch: 3, committed: 90 })).toBe('ok');
    expect(guard.remove(flow, 3, 'old')).toBe('stale');
    expect(guard.remove(flow, 3, 'new')).toBe('ok');
  });

  it('answers commands about flows it does not know by name, and malformed ones', () => {
    expect(guard.commit(flow, 1, 1)).toBe('absent');
    const data = Buffer.alloc(128);
    expect(guardResults[testRun(pins.control.value, { data }).retval]).toBe('invalid');
    expect(guardResults[testRun(pins.control.value, { data: Buffer.alloc(20) }).retval]).toBe('invalid');
  });

  it('survives frames cut at every byte', () => {
    register();
    const whole = buildFrame({ flow, ack: 9000, options: timestamps, payload: Buffer.from('abc') });
    // The kernel itself refuses a test frame without a whole IP header.
    const ipEnd = flow.vip.address.includes(':') ? 54 : 34;
    for (let bytes = ipEnd; bytes < whole.length; bytes++) {
      expect([0, 2]).toContain(
        testRun(pins.egress.value, { data: Buffer.from(whole.subarray(0, bytes)) }).retval,
      );
    }
  });

  it.runIf(flow.vip.address.includes(':'))('finds TCP behind an extension header', () => {
    for (const tags of [[], [etherTypes.providerVlan]])
      for (const extensionBytes of [8, 16]) {
        register();
        const frame = { flow, tags, extensionBytes, ack: 6000, options: timestamps };
        expect(egress({ ...frame, payload: Buffer.from('x') })).toMatchObject({ ack: 5000, isSound: true });
        expect(egress({ ...frame, seq: 1001 })).toBeUndefined();
        const { result, frame: emitted } = command({ op: 'commit', flow, epoch: 1, committed: 6000 });
        expect(result).toBe('emitted');
        expect(parseFrame(emitted)).toMatchObject({ tags, extensionBytes, ack: 6000, isSound: true });
        guard.remove(flow, 1);
      }
  });

  it('lists what it guards', () => {
    register();
    expect(guard.list().filter((g) => g.flow.client.address === flow.client.address)).toHaveLength(1);
  });
});
