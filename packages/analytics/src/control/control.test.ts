import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom } from '../seeded-random.js';
import { type BrakeState, createBrakes, movesAllowed, stepBrakes } from './brakes.js';
import { createGovernor, type GovernorState, stepGovernor } from './mode-governor.js';
import { MovedLoadLedger } from './moved-load.js';
import { SkillTracker } from './skill-tracker.js';

describe('skill tracker', () => {
  it('says nothing before enough cases, then the relative gain', () => {
    const tracker = new SkillTracker({ memoryCases: 100, minCases: 10 });
    for (let i = 0; i < 9; i++) tracker.record(0.5, 1);
    expect(tracker.get().skill).toBeUndefined();
    tracker.record(0.5, 1);
    expect(tracker.get().skill).toBeCloseTo(0.5, 9);
  });

  it('does not take luck for skill', () => {
    const random = createRandom(1);
    const tracker = new SkillTracker({ memoryCases: 200, minCases: 50 });
    for (let i = 0; i < 400; i++) tracker.record(random(), random());
    expect(Math.abs(tracker.get().certainty)).toBeLessThan(3);
  });

  it('forgets, so a model that broke is found out', () => {
    const tracker = new SkillTracker({ memoryCases: 100, minCases: 10 });
    for (let i = 0; i < 1_000; i++) tracker.record(0.2, 1);
    for (let i = 0; i < 150; i++) tracker.record(2, 1);
    expect(tracker.get().skill).toBeLessThan(0);
    tracker.record(Number.NaN, 1);
    expect(tracker.get().skill).toBeLessThan(0);
  });
});

describe('governor', () => {
  const bad = { skill: -0.3, certainty: -4, cases: 100 };
  const good = { skill: 0.3, certainty: 4, cases: 100 };
  const step = (state: GovernorState, skill: typeof bad) => stepGovernor(state, { t: 'skill', skill });

  it('falls back to the reactive rule without skill, says so, and returns after three good evaluations', () => {
    let { state, events } = step(createGovernor('act'), bad);
    expect(state.rule).toBe('reactive');
    expect(events).toEqual([{ t: 'fellBack', skill: -0.3 }]);
    ({ state, events } = step(state, good));
    ({ state, events } = step(state, bad));
    ({ state, events } = step(state, good));
    ({ state, events } = step(state, good));
    expect(state.rule).toBe('reactive');
    ({ state, events } = step(state, good));
    expect(state.rule).toBe('predictive');
    expect(events).toEqual([{ t: 'returned', skill: 0.3 }]);
  });

  it('does not condemn a model that was not tried or is just unlucky', () => {
    const state = createGovernor('act');
    expect(
      stepGovernor(state, { t: 'skill', skill: { skill: undefined, certainty: 0, cases: 2 } }).state,
    ).toBe(state);
    expect(step(state, { ...bad, certainty: -0.5 }).state).toBe(state);
  });

  it('off plans nothing, and switching modes is no way around a fall-back', () => {
    const fallen = step(createGovernor('act'), bad).state;
    const shadow = stepGovernor(fallen, { t: 'mode', mode: 'shadow' }).state;
    expect(stepGovernor(shadow, { t: 'mode', mode: 'act' }).state.rule).toBe('reactive');
    const off = stepGovernor(createGovernor('act'), { t: 'mode', mode: 'off' });
    expect(off.state.rule).toBe('none');
    expect(off.events).toEqual([{ t: 'modeChanged', from: 'act', to: 'off' }]);
  });
});

describe('brakes', () => {
  const drive = (inputs: Parameters<typeof stepBrakes>[1][]): BrakeState =>
    inputs.reduce((state, input) => stepBrakes(state, input).state, createBrakes());
  const moves = (count: number, reverts: number, atMs: number) =>
    Array.from({ length: count }, (_, i) => ({
      t: 'move' as const,
      atMs,
      outcome: i < reverts ? ('reverted' as const) : ('committed' as const),
    }));

  it('are pulled before the first telemetry and let go with it', () => {
    expect(createBrakes().reasons).toEqual(['stale']);
    const { state, events } = stepBrakes(createBrakes(), { t: 'telemetry', atMs: 0 });
    expect(state.reasons).toEqual([]);
    expect(events).toEqual([{ t: 'released', reason: 'stale' }]);
  });

  it('are pulled above 5 % reverts in 5 minutes, not at 5 %, and let go when the window has passed', () => {
    expect(drive([{ t: 'telemetry', atMs: 0 }, ...moves(40, 2, 100)]).reasons).toEqual([]);
    const pulled = drive([{ t: 'telemetry', atMs: 0 }, ...moves(40, 3, 100)]);
    expect(pulled.reasons).toEqual(['reverts']);
    expect(movesAllowed(pulled, 200)).toBe(0);
    const later = stepBrakes(pulled, { t: 'telemetry', atMs: 301_500 });
    expect(later.events).toEqual([{ t: 'released', reason: 'reverts' }]);
  });

  it('hold the cap of sessions a minute and stop on stale telemetry', () => {
    const limits = {
      maxRevertRatio: 1,
      revertWindowMs: 300_000,
      minMoves: 1,
      maxMovesPerMin: 10,
      staleMs: 5_000,
    };
    let state = stepBrakes(createBrakes(), { t: 'telemetry', atMs: 0 }, limits).state;
    for (const move of moves(9, 0, 10)) state = stepBrakes(state, move, limits).state;
    expect(movesAllowed(state, 20, limits)).toBe(1);
    state = stepBrakes(state, moves(1, 0, 20)[0]!, limits).state;
    expect(state.reasons).toEqual(['rate']);
    state = stepBrakes(state, { t: 'tick', atMs: 5_001 }, limits).state;
    expect(state.reasons).toEqual(['rate', 'stale']);
  });

  it('off wins over everything and each change is told exactly once', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            kind: fc.constantFrom('on', 'off', 'committed', 'reverted', 'telemetry', 'tick'),
            gapMs: fc.integer({ min: 0, max: 20_000 }),
          }),
          { maxLength: 60 },
        ),
        (script) => {
          let state = createBrakes();
          let atMs = 0;
          const pulled = new Set<string>(['stale']);
          for (const { kind, gapMs } of script) {
            atMs += gapMs;
            const result = stepBrakes(
              state,
              kind === 'on' || kind === 'off'
                ? { t: 'mode', atMs, off: kind === 'off' }
                : kind === 'committed' || kind === 'reverted'
                  ? { t: 'move', atMs, outcome: kind }
                  : { t: kind as 'telemetry' | 'tick', atMs },
            );
            for (const event of result.events) {
              expect(pulled.has(event.reason)).toBe(event.t === 'released');
              if (event.t === 'pulled') pulled.add(event.reason);
              else pulled.delete(event.reason);
            }
            state = result.state;
            expect(new Set(state.reasons)).toEqual(pulled);
            if (state.off) expect(movesAllowed(state, atMs)).toBe(0);
          }
        },
      ),
    );
  });
});

describe('moved load', () => {
  it('is counted back at the source, off the target, fades, and ends with the session', () => {
    const ledger = new MovedLoadLedger();
    ledger.add({ session: 1, from: 0, to: 1, load: 10, atMs: 0, lifeMs: 1_000 });
    expect(ledger.correction(0, 0)).toBe(10);
    expect(ledger.correction(1, 0)).toBe(-10);
    expect(ledger.correction(0, 1_000)).toBeCloseTo(10 / Math.E, 9);
    ledger.add({ session: 1, from: 1, to: 2, load: 10, atMs: 0, lifeMs: 1_000 });
    expect(ledger.correction(0, 0)).toBe(10);
    expect(ledger.correction(1, 0)).toBe(0);
    expect(ledger.correction(2, 0)).toBe(-10);
    ledger.end(1);
    expect(ledger.correction(0, 0)).toBe(0);
  });
});
