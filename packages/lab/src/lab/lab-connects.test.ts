import { describe, expect, it } from 'vitest';
import { settle } from './lab-connects.js';
import type { LifeRecord } from '../load/lives/life-kinds.js';

const life: LifeRecord = {
  kind: 'accept-queue',
  tag: 'v0.0',
  localPort: 1000,
  openedAtMs: 1000,
  connectedAtMs: 1001,
  endedAtMs: 1500,
  end: 'reset',
  phases: [],
  receivedBytes: 0,
  lostBytes: 0,
  doubledBytes: 0,
  wrongBytes: 0,
  ackedBytes: 0,
  silentMs: 0,
};

describe('settle', () => {
  it('counts from the fault to the first byte or the end', () => {
    expect(settle(life, 1100).settledMs).toBe(400);
    expect(settle({ ...life, end: 'complete', firstByteAtMs: 1300 }, 1100).settledMs).toBe(200);
  });

  it('counts from the handshake if that was later, and not at all for what was settled before', () => {
    expect(settle({ ...life, connectedAtMs: 1200 }, 1100).settledMs).toBe(300);
    expect(settle({ ...life, endedAtMs: 1050 }, 1100).settledMs).toBe(0);
  });

  it('has no figure for who was never connected', () => {
    const refused = { ...life, end: 'refused', error: 'ECONNREFUSED' } as { connectedAtMs?: number };
    delete refused.connectedAtMs;
    expect(settle(refused as LifeRecord, 1100)).toEqual({
      end: 'refused',
      error: 'ECONNREFUSED',
      settledMs: null,
      connectMs: null,
    });
  });
});
