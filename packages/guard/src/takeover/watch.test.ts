import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  defaultWatchSettings,
  forgiveOwnSleep,
  newWatch,
  stepWatch,
  type WatchEvent,
  type WatchState,
} from './watch.js';

const at = (nowMs: number, heard = 0): WatchEvent => ({ t: 'tick', nowMs, agentHeardAtMs: heard });

/** Runs events; returns the last state and all actions as `time:action`. */
function play(events: readonly WatchEvent[]): { state: WatchState; log: string[] } {
  let state = newWatch(0);
  const log: string[] = [];
  for (const event of events) {
    const step = stepWatch(state, event);
    state = step.state;
    log.push(...step.actions.map((a) => `${event.nowMs}:${a.t}`));
  }
  return { state, log };
}

const healthy: WatchState = { t: 'healthy', heardAtMs: 0, leaseEndsAtMs: 600 };
const suspect: WatchState = { t: 'suspect', heardAtMs: 0, leaseEndsAtMs: 600 };
const dead: WatchState = { t: 'dead', reason: 'host', atMs: 600, leaseEndsAtMs: 800 };
const taken: WatchState = { t: 'taken', reason: 'host', deadAtMs: 600, atMs: 800 };

describe('the watch over an endpoint', () => {
  it('takes its own sleep for nobody’s silence, and still notices a death if it sleeps again and again', () => {
    expect(forgiveOwnSleep(suspect, 500, 500)).toEqual({ ...suspect, heardAtMs: 500 });
    expect(forgiveOwnSleep(suspect, 500, 400)).toEqual({ ...suspect, heardAtMs: 400 });
    expect(forgiveOwnSleep(dead, 500, 700)).toBe(dead);
    let state = newWatch(0);
    let nowMs = 0;
    while (state.t !== 'taken' && nowMs < 5000) {
      nowMs += 100;
      state = stepWatch(forgiveOwnSleep(state, 60, nowMs), at(nowMs)).state;
    }
    expect(nowMs).toBe(1500);
  });

  it.each<[WatchState, WatchEvent, WatchState['t'], string]>([
    [healthy, { t: 'heard', nowMs: 100 }, 'healthy', ''],
    [healthy, { t: 'lease-requested', nowMs: 100 }, 'healthy', 'grant'],
    [healthy, { t: 'link-lost', nowMs: 50 }, 'suspect', 'hold'],
    [suspect, { t: 'link-lost', nowMs: 350 }, 'suspect', ''],
    [dead, { t: 'link-lost', nowMs: 700 }, 'dead', ''],
    [taken, { t: 'link-lost', nowMs: 900 }, 'taken', ''],
    [healthy, at(299), 'healthy', ''],
    [healthy, at(300), 'suspect', 'hold'],
    [healthy, at(600), 'taken', 'hold,fence,take-over'],
    [{ ...healthy, leaseEndsAtMs: 700 }, at(600), 'dead', 'hold,fence'],
    [healthy, { t: 'process-ended', nowMs: 100, isFenced: true }, 'taken', 'hold,take-over'],
    [healthy, { t: 'process-ended', nowMs: 100, isFenced: false }, 'dead', 'hold'],
    [suspect, { t: 'heard', nowMs: 400 }, 'healthy', 'give-back'],
    [suspect, { t: 'lease-requested', nowMs: 400 }, 'suspect', 'grant'],
    [suspect, at(400), 'suspect', ''],
    [suspect, at(600), 'taken', 'fence,take-over'],
    [suspect, { t: 'process-ended', nowMs: 400, isFenced: true }, 'taken', 'take-over'],
    [dead, { t: 'heard', nowMs: 700 }, 'dead', 'fence'],
    [dead, { t: 'lease-requested', nowMs: 700 }, 'dead', 'refuse-lease'],
    [dead, at(799), 'dead', ''],
    [dead, at(800), 'taken', 'take-over'],
    [dead, { t: 'process-ended', nowMs: 700, isFenced: true }, 'taken', 'take-over'],
    [taken, { t: 'heard', nowMs: 900 }, 'taken', 'fence'],
    [taken, { t: 'lease-requested', nowMs: 900 }, 'taken', 'refuse-lease'],
    [taken, at(900), 'taken', ''],
    [taken, { t: 'process-ended', nowMs: 900, isFenced: true }, 'taken', ''],
  ])('from %o by %o comes to %s and does [%s]', (state, event, next, actions) => {
    const step = stepWatch(state, event);
    expect(step.state.t).toBe(next);
    expect(step.actions.map((a) => a.t).join()).toBe(actions);
  });

  it('holds at the first missed heartbeat and gives back on a false alarm', () => {
    expect(play([at(310), { t: 'heard', nowMs: 320 }, at(400)]).log).toEqual(['310:hold', '320:give-back']);
  });

  it.each([
    ['stopped', 2000, { agentHeardAtMs: 1990 }],
    ['host', 600, { agentHeardAtMs: 0 }],
  ] as const)('tells a %s endpoint apart', (reason, nowMs, heard) => {
    expect(stepWatch(healthy, { t: 'tick', nowMs, ...heard }).state).toMatchObject({ reason });
  });

  it('is patient with a process that its agent knows to live, and holds its flows meanwhile', () => {
    const step = stepWatch(healthy, { t: 'tick', nowMs: 1900, agentHeardAtMs: 1850 });
    expect(step.state.t).toBe('suspect');
    expect(step.actions).toEqual([{ t: 'hold' }]);
  });

  it('never takes over while a lease it granted may still run at its holder, whatever comes in what order', () => {
    const event = fc.tuple(
      fc.constantFrom(
        'heard' as const,
        'lease-requested' as const,
        'tick' as const,
        'process-ended' as const,
      ),
      fc.nat(250),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (steps) => {
        let state = newWatch(0);
        let nowMs = 0;
        let holderEndsAtMs = Number.NEGATIVE_INFINITY;
        for (const [t, wait] of steps) {
          nowMs += wait;
          const { state: next, actions } = stepWatch(
            state,
            t === 'process-ended' ? { t, nowMs, isFenced: false } : { t, nowMs },
          );
          // The request left earlier than the grant: this is the latest the holder can reckon with.
          if (actions.some((a) => a.t === 'grant')) holderEndsAtMs = nowMs + defaultWatchSettings.leaseMs;
          if (actions.some((a) => a.t === 'take-over')) expect(nowMs).toBeGreaterThan(holderEndsAtMs);
          if (state.t === 'taken') expect(next.t).toBe('taken');
          state = next;
        }
      }),
      { numRuns: 1000 },
    );
  });
});
