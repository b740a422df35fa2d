import { tcpState } from '@restitch/sys/internal';
import { describe, expect, it } from 'vitest';
import {
  type LifeFinding,
  countKinds,
  findLifeFaults,
  findRareKinds,
  inPhaseAtLeast,
  type LifeFault,
  type LifeRun,
  type ServerSocket,
} from './kinds-report.js';
import type { LifeRecord } from './life-kinds.js';

const life = (change: Partial<LifeRecord> = {}): LifeRecord => ({
  kind: 'slow-reader',
  tag: 's0.0',
  localPort: 1000,
  openedAtMs: 0,
  connectedAtMs: 1,
  firstByteAtMs: 2,
  endedAtMs: 9000,
  end: 'complete',
  phases: [[100, 5000]],
  receivedBytes: 500,
  lostBytes: 0,
  doubledBytes: 0,
  wrongBytes: 0,
  ackedBytes: 20,
  silentMs: 10,
  ...change,
});
const socket = (change: Partial<ServerSocket> = {}): ServerSocket => ({
  state: tcpState.finWait1,
  sendQueueBytes: 300,
  isAccepted: true,
  isHeld: true,
  ...change,
});
const fault = (change: Partial<LifeFault> = {}): LifeFault => ({
  atMs: 1000,
  victim: 'a',
  sockets: new Map([[1000, socket()]]),
  isDeath: true,
  ...change,
});
const run = (records: LifeRecord[], faults = [fault()], receipts: LifeRun['receipts'] = []): LifeRun => ({
  records,
  faults,
  receipts,
});

describe('countKinds', () => {
  it('counts who was in its phase at the instant of a fault, seen from both ends', () => {
    const count = (record: LifeRecord, f: LifeFault): number =>
      countKinds(run([record], [f]))[record.kind]?.inPhase ?? -1;
    expect(count(life(), fault())).toBe(1);
    expect(count(life(), fault({ atMs: 6000 }))).toBe(0);
    expect(count(life({ localPort: 7 }), fault())).toBe(0);
    expect(count(life(), fault({ sockets: new Map([[1000, socket({ sendQueueBytes: 0 })]]) }))).toBe(0);
    expect(count(life({ kind: 'half-closer' }), fault())).toBe(0);
    const closeWait = fault({ sockets: new Map([[1000, socket({ state: tcpState.closeWait })]]) });
    expect(count(life({ kind: 'half-closer' }), closeWait)).toBe(1);
    expect(count(life({ kind: 'accept-queue' }), fault())).toBe(0);
    const waiting = fault({ sockets: new Map([[1000, socket({ isAccepted: false })]]) });
    expect(count(life({ kind: 'accept-queue' }), waiting)).toBe(1);
    const burst = life({ kind: 'connect-burst', openedAtMs: 990, phases: [] });
    expect(count(burst, fault({ sockets: new Map() }))).toBe(1);
  });

  it('names the states of the victim`s sockets', () => {
    expect(countKinds(run([life()]))['slow-reader']?.serverStates).toEqual({ finWait1: 1 });
  });

  it('counts an acknowledged upload without a receipt as lost', () => {
    const upload = life({ kind: 'server-half-closer', uploadedBytes: 3000 });
    const lost = (receipts: LifeRun['receipts']): number | undefined =>
      countKinds(run([upload], [], receipts))['server-half-closer']?.lostBytes;
    expect(lost([])).toBe(3000);
    expect(lost([{ tag: 's0.0', bytes: 2000, bad: 0 }])).toBe(1000);
    // The heir may have written it again.
    expect(lost([2000, 3000].map((bytes) => ({ tag: 's0.0', bytes, bad: 0 })))).toBe(0);
  });

  it('says which kinds a run has hardly tried', () => {
    expect(findRareKinds(countKinds(run([life()])))).toEqual([
      `slow-reader: only 1 in their phase, ${inPhaseAtLeast} wanted`,
    ]);
  });
});

describe('findLifeFaults', () => {
  const faultsOf = (
    change: Partial<LifeRecord>,
    level: 'none' | 'commit',
    faults = [fault()],
  ): LifeFinding[] => findLifeFaults(run([life(change)], faults), level);

  it('allows a reset below commit, and only to whom a fault has hit', () => {
    const reset = { end: 'reset', error: 'ECONNRESET' } as const;
    expect(faultsOf(reset, 'none')).toEqual([]);
    expect(faultsOf(reset, 'none', [])).toHaveLength(1);
    expect(faultsOf(reset, 'none', [fault({ atMs: 9500 })])).toHaveLength(1);
    expect(faultsOf(reset, 'commit')).toHaveLength(1);
    expect(findLifeFaults(run([life(reset)]), 'none', { isPlanned: true })).toHaveLength(1);
  });

  it('allows a reset at commit to whom nothing was answered nor acknowledged', () => {
    const record = { ...life({ end: 'reset', ackedBytes: 0 }) } as { firstByteAtMs?: number };
    delete record.firstByteAtMs;
    const unaccepted = record as LifeRecord;
    expect(findLifeFaults(run([unaccepted]), 'commit')).toEqual([]);
    expect(findLifeFaults(run([{ ...unaccepted, ackedBytes: 80 }]), 'commit')).toHaveLength(1);
  });

  it('allows no early end, no wrong byte, no refusal and no standstill at any level', () => {
    for (const level of ['none', 'commit'] as const) {
      expect(faultsOf({ end: 'early-eof', lostBytes: 5 }, level)).toHaveLength(1);
      expect(faultsOf({ doubledBytes: 1 }, level)).toHaveLength(1);
      expect(faultsOf({ end: 'refused' }, level)).toHaveLength(1);
      expect(faultsOf({ end: 'stuck' }, level)).toHaveLength(1);
    }
  });

  it('allows no silence at commit', () => {
    expect(faultsOf({ silentMs: 5100 }, 'commit')).toHaveLength(1);
    expect(faultsOf({ silentMs: 5100 }, 'none')).toEqual([]);
  });
});
