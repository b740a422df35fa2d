/** What a clock promises, for the machine's own and for the one that tests move. */
import { beforeEach, expect, it } from 'vitest';
import type { Clock } from '@restitch/core';

/** A clock, and the way its time passes. */
export interface ClockStage {
  readonly clock: Clock;
  /** Lets at least so much time pass; what fell due in it has run. */
  readonly pass: (ms: number) => Promise<void>;
}

/** Timers may be early by what the clock's own grain is. */
const grainMs = 1;

/** Runs the promises; every test has a stage of its own. */
export function clockContract(setUp: () => ClockStage): void {
  let clock: Clock;
  let pass: ClockStage['pass'];
  let ran: string[];
  const note = (what: string) => (): void => void ran.push(what);
  beforeEach(() => {
    ({ clock, pass } = setUp());
    ran = [];
  });

  it('goes on and never back, in milliseconds and nanoseconds alike, wall time with it', async () => {
    const [wallMs, ms, ns] = [clock.wallMs(), clock.monotonicMs(), clock.monotonicNs()];
    expect(Math.abs(Number(ns) / 1e6 - ms)).toBeLessThan(100);
    await pass(40);
    expect(clock.monotonicMs() - ms).toBeGreaterThanOrEqual(40 - grainMs);
    expect(Number(clock.monotonicNs() - ns) / 1e6).toBeGreaterThanOrEqual(40 - grainMs);
    expect(clock.wallMs() - wallMs).toBeGreaterThanOrEqual(40 - 2 * grainMs);
    expect(clock.monotonicNs()).toBeGreaterThanOrEqual(ns);
  });

  it('runs a timer once, when its time has come and not before, and shows it that time', async () => {
    const beganMs = clock.monotonicMs();
    let atMs = 0;
    clock.after(30, () => {
      atMs = clock.monotonicMs();
      ran.push('timer');
    });
    await pass(5);
    if (clock.monotonicMs() - beganMs < 30 - grainMs) expect(ran).toEqual([]);
    await pass(60);
    await pass(60);
    expect(ran).toEqual(['timer']);
    expect(atMs - beganMs).toBeGreaterThanOrEqual(30 - grainMs);
  });

  it('runs timers by their time, those of one time in their order', async () => {
    clock.after(30, note('late'));
    clock.after(10, note('first'));
    clock.after(10, note('second'));
    clock.after(0.25, note('at once'));
    await pass(80);
    expect(ran).toEqual(['at once', 'first', 'second', 'late']);
  });

  it('runs no timer before who set it has gone on, not even without a delay', async () => {
    clock.after(0, note('timer'));
    clock.after(-5, note('overdue'));
    void Promise.resolve().then(note('microtask'));
    ran.push('caller');
    await pass(20);
    expect(ran.slice(0, 2)).toEqual(['caller', 'microtask']);
    expect(ran.slice(2).sort()).toEqual(['overdue', 'timer']);
  });

  it('lets what a timer has set free run before the next one', async () => {
    clock.after(10, () => void Promise.resolve().then(note('set free')));
    clock.after(10, note('next'));
    await pass(40);
    expect(ran).toEqual(['set free', 'next']);
  });

  it('runs a timer that a timer sets, in its turn', async () => {
    const again = (left: number): void => {
      ran.push(`${left}`);
      if (left > 0) clock.after(5, () => again(left - 1));
    };
    clock.after(5, () => again(3));
    await pass(120);
    expect(ran).toEqual(['3', '2', '1', '0']);
  });

  it('runs no timer that was cancelled, also by one of the same time, and takes a late cancelling', async () => {
    const cancel = clock.after(10, note('cancelled'));
    let cancelNext = (): void => undefined;
    clock.after(20, () => cancelNext());
    cancelNext = clock.after(20, note('cancelled by the one before'));
    const cancelLate = clock.after(10, note('timer'));
    cancel();
    cancel();
    await pass(60);
    cancelLate();
    expect(ran).toEqual(['timer']);
  });

  it('waits for more than 25 days, too, and can be told not to', async () => {
    const cancel = clock.after(2 ** 31 + 1000, note('a month'));
    await pass(30);
    expect(ran).toEqual([]);
    cancel();
  });
}
