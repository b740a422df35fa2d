import { describe, expect, it } from 'vitest';
import { isMoveOutcome, lifeCycle, moveEvents, nextMoveState, stepOfState } from './life-cycle.js';
import type { MoveAction, MoveState } from './life-cycle.js';

const states = Object.keys(lifeCycle) as Array<keyof typeof lifeCycle>;
const cells = states.flatMap((state) =>
  Object.entries(lifeCycle[state].on).map(([event, cell]) => ({ state, event, ...cell })),
);

/** States after the one commit point. */
const committedStates: readonly MoveState[] = [
  'activating',
  'awaiting-target',
  'confirming',
  'releasing',
  'committed',
];
/** States in which the source may be frozen and the record names it. */
const frozenStates: readonly MoveState[] = ['freezing', 'frozen', 'thawed-first', 'source-gone', 'switching'];

describe('the life cycle as a whole', () => {
  it('has a deadline in every state, and acts on it or is decided within the turn', () => {
    for (const state of states) {
      if (state === 'switching') continue;
      expect(lifeCycle[state].on.deadline, state).toBeDefined();
    }
  });

  it('answers every event in every state, and no event both ways', () => {
    for (const state of states) {
      for (const event of moveEvents) {
        const isActed = lifeCycle[state].on[event] !== undefined;
        const isIgnored = lifeCycle[state].ignores.includes(event);
        expect(isActed && isIgnored, `${state} ${event}`).toBe(false);
        const expected = isActed ? lifeCycle[state].on[event] : isIgnored ? 'ignored' : 'impossible';
        expect(nextMoveState(state, event)).toBe(expected);
      }
    }
  });

  it('acts on or ignores the loss of either party, the end of the session and a cancel everywhere', () => {
    for (const state of states) {
      for (const event of ['source-lost', 'target-lost', 'session-ended', 'cancel', 'deadline'] as const) {
        const answer = nextMoveState(state, event);
        const isAwaited = !(state === 'backing-off' && event === 'deadline');
        // A party that is lost already, or not needed any more, cannot be lost again: these cells say so.
        const isBeyond =
          (state === 'thawed-first' && event === 'session-ended') ||
          (state === 'releasing' && event === 'source-lost');
        if (isAwaited && !isBeyond) expect(answer, `${state} ${event}`).not.toBe('impossible');
      }
    }
  });

  it('reaches every state from the first, and an end from every state', () => {
    const reach = (from: MoveState): Set<MoveState> => {
      const seen = new Set<MoveState>([from]);
      const todo = [from];
      for (let state = todo.pop(); state !== undefined; state = todo.pop()) {
        for (const cell of cells.filter((c) => c.state === state)) {
          if (seen.has(cell.to)) continue;
          seen.add(cell.to);
          todo.push(cell.to);
        }
      }
      return seen;
    };
    const all = reach('reserving');
    for (const state of states) expect(all.has(state), state).toBe(true);
    for (const state of states) expect([...reach(state)].some(isMoveOutcome), state).toBe(true);
  });

  it('has no way back behind the commit point, and one way through it', () => {
    for (const cell of cells) {
      if (!committedStates.includes(cell.state)) continue;
      const isForward = committedStates.includes(cell.to) || cell.to === 'failed';
      expect(isForward, `${cell.state} ${cell.event} → ${cell.to}`).toBe(true);
      expect(cell.act).not.toContain('send-revert');
      expect(cell.act).not.toContain('send-abort');
    }
    const through = cells.filter((c) => committedStates.includes(c.to) && !committedStates.includes(c.state));
    expect(through.map((c) => `${c.state} ${c.event}`)).toEqual(['switching switched']);
  });

  it('switches only after the target has thawed, and then by that event or the source`s own word', () => {
    const switching = cells.filter((c) => c.act.includes('switch'));
    expect(switching.map((c) => `${c.state} ${c.event}`).sort()).toEqual([
      'frozen thawed',
      'source-gone thawed',
      'thawed-first frozen',
      'thawed-first source-lost',
    ]);
    for (const cell of switching) expect(cell.to).toBe('switching');
  });

  it('tells the target to serve only behind the switch, the source to let go only behind that', () => {
    const by = (action: MoveAction): string[] =>
      cells.filter((c) => c.act.includes(action)).map((c) => c.state as string);
    expect(by('send-activate')).toEqual(['switching']);
    for (const state of by('send-release')) expect(committedStates).toContain(state);
  });

  it('never leaves a source that may be frozen without a word, unless it is gone', () => {
    for (const cell of cells) {
      if (!frozenStates.includes(cell.state)) continue;
      if (cell.to !== 'refused' && cell.to !== 'reverted' && cell.to !== 'failed') continue;
      const isSaid = cell.act.includes('send-revert');
      const isGone = cell.state === 'source-gone' || cell.event === 'session-ended';
      expect(isSaid || isGone, `${cell.state} ${cell.event}`).toBe(true);
    }
  });

  it('names a step for every state', () => {
    for (const state of states) expect(stepOfState[state], state).toBeDefined();
  });

  it('ignores everything once it has ended', () => {
    for (const event of moveEvents) expect(nextMoveState('committed', event)).toBe('ignored');
  });
});

describe('the table of who dies and what then', () => {
  const path = (...events: Array<(typeof moveEvents)[number]>): MoveState => {
    let state: MoveState = 'reserving';
    for (const event of events) {
      const next = nextMoveState(state, event);
      if (typeof next === 'string') throw new Error(`${state} ${event}: ${next}`);
      state = next.to;
    }
    return state;
  };
  const toFrozen = ['reserved', 'prepared', 'admitted', 'held', 'frozen'] as const;

  it.each([
    ['nothing', ['thawed', 'switched', 'activated', 'confirmed', 'released'], 'committed'],
    ['the target refuses to thaw', ['thaw-failed', 'reverted'], 'reverted'],
    ['the target dies before the switch', ['target-lost', 'reverted'], 'reverted'],
    ['the source dies and the image is at the target', ['source-lost', 'thawed', 'switched'], 'activating'],
    ['the source dies with the image', ['source-lost', 'deadline'], 'failed'],
    ['both die', ['target-lost', 'source-lost'], 'failed'],
    [
      'the target dies behind the switch',
      ['thawed', 'switched', 'target-lost', 'deadline', 'released'],
      'committed',
    ],
    ['the client stays silent', ['thawed', 'switched', 'activated', 'deadline', 'released'], 'committed'],
    [
      'the source dies behind the switch',
      ['thawed', 'switched', 'activated', 'confirmed', 'source-lost'],
      'committed',
    ],
    ['the budget is over', ['deadline', 'reverted'], 'reverted'],
  ] as const)('%s', (_what, events, end) => {
    expect(path(...toFrozen, ...events)).toBe(end);
  });

  it('is refused before anything is held', () => {
    expect(path('target-refused')).toBe('refused');
    expect(path('reserved', 'source-refused')).toBe('refused');
    expect(path('reserved', 'prepared', 'admitted', 'hold-refused')).toBe('refused');
  });

  it('tries a busy session again', () => {
    expect(
      path('reserved', 'prepared', 'admitted', 'held', 'busy', 'deadline', 'admitted', 'held', 'frozen'),
    ).toBe('frozen');
  });
});
