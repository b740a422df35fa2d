import { describe, expect, it } from 'vitest';
import type { ClientReport } from '../load/clients/driver-messages.js';
import { createRoleSchedule } from './role-schedule.js';

const client = (rtoAtMs: number[]): ClientReport => ({
  tag: 'c',
  kind: 'line',
  localAddress: '10.0.0.2',
  localPort: 1,
  sentBytes: 0,
  receivedBytes: 0,
  mismatchedBytes: 0,
  lostBytes: 0,
  duplicatedBytes: 0,
  resets: 0,
  rtos: rtoAtMs.length,
  openedAtMs: 0,
  closedAtMs: 0,
  rtoAtMs,
  samples: new Float64Array(0),
});

describe('createRoleSchedule', () => {
  const roles = createRoleSchedule(1000);

  it('gives each session both roles for the same time, neighbours in opposite turns', () => {
    expect(roles.isMoved(0, 1000)).toBe(true);
    expect(roles.isMoved(1, 1000)).toBe(false);
    expect(roles.isMoved(0, 3000)).toBe(false);
    expect(roles.isMoved(1, 3000)).toBe(true);
  });

  it('blames a timeout on the role at the time its timer began', () => {
    // Session 0 is moved until 3000: what is seen at 3200 began before.
    const { moved, unmoved } = roles.compare([client([1500, 3200, 3400])], 9000);
    expect(moved).toMatchObject({ rtos: 2, sessionSeconds: 4 });
    expect(unmoved).toMatchObject({ rtos: 1, sessionSeconds: 4 });
  });

  it('counts whole pairs of blocks only', () => {
    const { moved, unmoved } = roles.compare([client([5500])], 8900);
    expect(moved.rtos + unmoved.rtos).toBe(0);
    expect(moved.sessionSeconds).toBe(2);
  });
});
