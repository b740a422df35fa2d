import type { PlainData } from '@restitch/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createBuddyStore } from './buddy-store.js';
import type { Commit, ToBuddy, ToOwner } from '@restitch/wire/internal';
import { createOwnerSession, type OwnerSession } from './owner-session.js';

const settings = { sessionBoundBytes: 4096, logBoundBytes: 1024, replay: false };
const opening = Buffer.from('opening');
const owner = (over: Partial<typeof settings> = {}, epoch = 1): OwnerSession =>
  createOwnerSession({ id: 's1', epoch, opening, settings: { ...settings, ...over } });
const must = <T>(value: T | undefined): T => {
  if (value === undefined) throw new Error('expected a value');
  return value;
};
const refusal = (replies: readonly ToOwner[]): string =>
  replies[0]?.t === 'commit-refused' ? replies[0].code : 'none';

describe('an owner session', () => {
  it('lets nothing be acknowledged or sent before the buddy has it', () => {
    const session = owner();
    session.received(Buffer.from('request'));
    session.produced(Buffer.from('answer'));
    const commit = must(session.commit({ consumed: 7, state: { count: 1 } }));
    expect([session.ackableEnd, session.sendableEnd]).toEqual([0, 0]);
    session.committed(commit.n);
    expect([session.ackableEnd, session.sendableEnd]).toEqual([7, 6]);
    expect(session.takeSendable(0).toString()).toBe('answer');
  });

  it('keeps back output that a not deterministic application made after its last safe point', () => {
    const session = owner();
    session.commit({ consumed: 0, state: null });
    session.received(Buffer.from('half'));
    session.produced(Buffer.from('not yet'));
    session.committed(must(session.commit()).n);
    expect(session.ackableEnd).toBe(4);
    expect(session.sendableEnd).toBe(0);
  });

  it('sends the state where it is smaller than the input that led to it, and the input where that is smaller', () => {
    for (const deterministic of [true, false]) {
      const session = owner({ replay: deterministic });
      session.commit({ consumed: 0, state: { sum: 0 } });
      session.received(Buffer.alloc(500));
      expect(must(session.commit({ consumed: 500, state: { sum: 1 } })).input).toHaveLength(0);
      session.received(Buffer.from('x'));
      const small = must(session.commit({ consumed: 501, state: { sum: 2, more: 'a'.repeat(50) } }));
      expect(small.state === undefined).toBe(deterministic);
    }
  });

  it('goes on from what was taken over when its first commit comes before its first safe point', () => {
    const start = { input: 10, output: 20, state: { count: 3 }, promised: Buffer.from('promised') };
    const session = createOwnerSession({ id: 's1', epoch: 2, opening, settings, start });
    session.received(Buffer.from('next'));
    session.produced(Buffer.from('not yet'));
    const store = createBuddyStore();
    store.receive('b', must(session.commit()));
    const replica = store.takeOver('b', 's1', 2);
    expect(replica.state).toEqual({ count: 3 });
    expect([replica.consumed, replica.input.toString()]).toEqual([10, 'next']);
    expect([replica.acked, replica.output.toString()]).toEqual([20, 'promised']);
  });

  it('hears of a change that the application makes in place to the state it goes on from', () => {
    const state = { app: { count: 3 } };
    const session = createOwnerSession({
      ...{ id: 's1', epoch: 2, opening, settings },
      start: { input: 10, output: 20, state },
    });
    const store = createBuddyStore();
    store.receive('b', must(session.commit({ consumed: 10, state })));
    session.received(Buffer.from('next'));
    state.app.count = 4;
    store.receive('b', must(session.commit({ consumed: 14, state })));
    expect(store.takeOver('b', 's1', 2)).toMatchObject({ state: { app: { count: 4 } }, consumed: 14 });
  });

  it('has no room left at its bound, and room again when the client has acknowledged', () => {
    const session = owner();
    session.produced(Buffer.alloc(4096));
    const { n } = must(session.commit({ consumed: 0, state: null }));
    expect(session.roomBytes).toBe(0);
    session.committed(n);
    session.clientAcked(4096);
    expect(session.roomBytes).toBe(4096);
  });

  it('does not forget output on an acknowledgement of bytes that were never sent', () => {
    const session = owner();
    session.produced(Buffer.from('abc'));
    session.commit({ consumed: 0, state: null });
    session.clientAcked(3);
    session.committed(1);
    expect(session.takeSendable(0).toString()).toBe('abc');
  });

  it('does not change what was committed when the application goes on with its object', () => {
    const session = owner();
    const store = createBuddyStore();
    const state = { list: [1] };
    store.receive('a', must(session.commit({ consumed: 0, state })));
    state.list.push(2);
    expect(store.takeOver('a', 's1', 1).state).toEqual({ list: [1] });
  });
});

describe('a buddy', () => {
  const twoCommits = (): readonly [Commit, Commit] => {
    const session = owner();
    const first = must(session.commit({ consumed: 0, state: { n: 0 } }));
    session.received(Buffer.from('ab'));
    session.produced(Buffer.from('AB'));
    return [first, must(session.commit({ consumed: 2, state: { n: 2 } }))];
  };

  it('asks again from the gap and acknowledges repeats without storing them twice', () => {
    const store = createBuddyStore();
    const [first, second] = twoCommits();
    expect(store.receive('a', second)).toEqual([
      { t: 'resume-from', sessions: [{ id: 's1', epoch: 1, n: 0 }] },
    ]);
    store.receive('a', first);
    store.receive('a', second);
    const kept = store.keptBytes;
    expect(store.receive('a', second)).toEqual([
      { t: 'committed', sessions: [{ id: 's1', epoch: 1, n: 2 }] },
    ]);
    expect(store.keptBytes).toBe(kept);
  });

  it('refuses the epoch it has taken over, for good, and takes a newer one', () => {
    const store = createBuddyStore();
    const [first, second] = twoCommits();
    store.receive('a', first);
    expect(store.takeOver('a', 's1', 1).state).toEqual({ n: 0 });
    expect(refusal(store.receive('a', second))).toBe('stale_epoch');
    expect(refusal(store.receive('a', first))).toBe('stale_epoch');
    store.receive('a', { t: 'forget', id: 's1', epoch: 1 });
    expect(refusal(store.receive('a', first))).toBe('stale_epoch');
    expect(() => store.takeOver('a', 's1', 1)).toThrowError(/already taken/);
    expect(refusal(store.receive('a', must(owner({}, 2).commit({ consumed: 0, state: null }))))).toBe('none');
  });

  it('refuses each single damaged field and keeps the session', () => {
    const [first, second] = twoCommits();
    const damaged: Partial<Commit>[] = [
      { chain: second.chain ^ 1 },
      { input: Buffer.from('xx') },
      { output: Buffer.from('AX') },
      { inputStart: 1 },
      { outputStart: 1 },
      { acked: 1 },
      { fin: true },
      { state: { ...must(second.state), consumed: 1 } },
    ];
    for (const fault of damaged) {
      const store = createBuddyStore();
      store.receive('a', first);
      expect(refusal(store.receive('a', { ...second, ...fault })), Object.keys(fault).join()).toBe(
        'message_invalid',
      );
      store.receive('a', second);
      expect(store.takeOver('a', 's1', 1).output.toString()).toBe('AB');
    }
  });

  it('cannot be made to touch one endpoint’s session by another endpoint', () => {
    const store = createBuddyStore();
    const [first] = twoCommits();
    store.receive('a', first);
    store.receive('mallory', { t: 'forget', id: 's1', epoch: 99 });
    store.receive('mallory', must(owner({}, 99).commit({ consumed: 0, state: 'forged' })));
    expect(store.takeOver('a', 's1', 1).state).toEqual({ n: 0 });
  });

  it('remembers whom to refuse up to a bound, and forgets the oldest first', () => {
    const store = createBuddyStore({ maxTombstones: 3 });
    const commits = [1, 2, 3, 4].map((i) =>
      must(
        createOwnerSession({ id: `s${i}`, epoch: 1, opening, settings }).commit({ consumed: 0, state: i }),
      ),
    );
    for (const commit of commits) {
      store.receive('a', commit);
      store.takeOver('a', commit.id, 1);
    }
    expect([store.sessions, store.tombstones]).toEqual([0, 3]);
    expect(store.keptBytes).toBeLessThan(1000);
    expect(store.counters.get('replication_tombstones_dropped_total')).toBe(1);
    expect(commits.map((commit) => refusal(store.receive('a', commit)))).toEqual([
      'none',
      'stale_epoch',
      'stale_epoch',
      'stale_epoch',
    ]);
    // A newer ownership replaces its tombstone.
    const again = createOwnerSession({ id: 's2', epoch: 2, opening, settings });
    store.receive('a', must(again.commit({ consumed: 0, state: null })));
    expect([store.sessions, store.tombstones]).toEqual([2, 2]);
    for (const [id, epoch] of [
      ['s1', 1],
      ['s2', 2],
    ] as const)
      store.receive('a', { t: 'forget', id, epoch });
    expect([store.sessions, store.tombstones, store.keptBytes]).toEqual([0, 2, 2 * 256]);
    store.clear();
    expect([store.sessions, store.tombstones, store.keptBytes]).toEqual([0, 0, 0]);
  });

  it('refuses new sessions when full and goes on with those it has', () => {
    const store = createBuddyStore({ boundBytes: 2000 });
    const [first, second] = twoCommits();
    store.receive('a', first);
    const other = createOwnerSession({ id: 's2', epoch: 1, opening: Buffer.alloc(2000), settings });
    expect(refusal(store.receive('a', must(other.commit({ consumed: 0, state: null }))))).toBe('no_capacity');
    expect(refusal(store.receive('a', second))).toBe('none');
    expect(store.counters.get('replication_refused_no_capacity_total')).toBe(1);
  });
});

/** The application of the model test: answers every byte, its state is the sum so far. */
type Step =
  | { readonly t: 'receive'; readonly bytes: Uint8Array }
  | { readonly t: 'work'; readonly upTo: number }
  | { readonly t: 'commit'; readonly isSafe: boolean }
  | { readonly t: 'deliver'; readonly nth: number }
  | { readonly t: 'answer' }
  | { readonly t: 'ack'; readonly ratio: number }
  | { readonly t: 'reconnect' };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ t: fc.constant('receive' as const), bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }) }),
  fc.record({ t: fc.constant('work' as const), upTo: fc.nat(60) }),
  fc.record({ t: fc.constant('commit' as const), isSafe: fc.boolean() }),
  fc.record({ t: fc.constant('deliver' as const), nth: fc.nat(5) }),
  fc.constant({ t: 'answer' as const }),
  fc.record({ t: fc.constant('ack' as const), ratio: fc.double({ min: 0, max: 1, noNaN: true }) }),
  fc.constant({ t: 'reconnect' as const }),
);

/** One owner, one buddy and a wire between them that loses, repeats and reorders. */
function runSteps(steps: readonly Step[], deterministic: boolean): void {
  const session = owner({ replay: deterministic, sessionBoundBytes: 1 << 20, logBoundBytes: 1024 });
  const store = createBuddyStore();
  const wire: ToBuddy[] = [];
  let answers: ToOwner[] = [];
  const client: number[] = [];
  const produced: number[] = [];
  const emitted: number[] = [];
  let consumed = 0;
  let sum = 0;
  const collect = (): void => {
    const more = session.takeSendable(emitted.length);
    emitted.push(...more);
  };
  for (const s of steps) {
    if (s.t === 'receive') {
      client.push(...s.bytes);
      session.received(s.bytes);
    } else if (s.t === 'work') {
      const end = Math.min(client.length, consumed + s.upTo);
      for (; consumed < end; consumed++) {
        sum = (sum + (client[consumed] ?? 0)) & 0xff;
        produced.push(sum);
        session.produced(Uint8Array.of(sum));
      }
    } else if (s.t === 'commit') {
      const commit = session.commit(s.isSafe ? { consumed, state: { sum } } : undefined);
      if (commit !== undefined) wire.push(commit);
    } else if (s.t === 'deliver') {
      const message = wire[wire.length - 1 - (s.nth % Math.max(wire.length, 1))];
      if (message !== undefined) answers.push(...store.receive('a', message));
    } else if (s.t === 'ack') {
      session.clientAcked(Math.floor(emitted.length * s.ratio));
    } else if (s.t === 'reconnect') {
      answers = store.receive('a', { t: 'resume', sessions: [{ id: 's1', epoch: 1 }] });
    }
    if (s.t === 'answer' || s.t === 'reconnect') {
      for (const answer of answers.splice(0)) {
        if (answer.t === 'commit-refused') throw new Error(`refused ${answer.code} at commit ${answer.n}`);
        if (answer.t === 'forgotten') throw new Error(`forgotten ${answer.id}, which nobody asked for`);
        for (const { n } of answer.sessions) {
          session.committed(n);
          if (answer.t === 'resume-from') {
            for (const commit of session.resume(n)) wire.push(commit);
          }
        }
      }
      collect();
    }
    expect(session.ackableEnd).toBeLessThanOrEqual(client.length);
  }
  if (store.sessions === 0) {
    expect([session.ackableEnd, emitted.length]).toEqual([0, 0]);
    return;
  }
  const replica = store.takeOver('a', 's1', 1);
  // Every acknowledged byte is in the replica's input or in the state after it.
  expect(replica.inputEnd).toBeGreaterThanOrEqual(session.ackableEnd);
  expect(Buffer.compare(replica.input, Buffer.from(client.slice(replica.consumed, replica.inputEnd)))).toBe(
    0,
  );
  // A replay gives exactly what was emitted, and goes on.
  let again = (replica.state as { sum: number } | null)?.sum ?? 0;
  const replayed = [...replica.input].map((byte) => {
    again = (again + byte) & 0xff;
    return again;
  });
  expect(produced.slice(replica.outputAt, replica.outputAt + replayed.length)).toEqual(
    replayed.slice(0, produced.length - replica.outputAt),
  );
  expect(emitted).toEqual(produced.slice(0, emitted.length));
  expect(replica.outputEnd).toBeGreaterThanOrEqual(emitted.length);
  expect([...replica.output]).toEqual(produced.slice(replica.acked, replica.outputEnd));
  if (!deterministic) expect(replica.outputAt).toBe(replica.outputEnd);
}

describe('owner and buddy over a wire that loses, repeats and reorders', () => {
  it.each([true, false])(
    'leave nothing acknowledged or emitted that the buddy lacks (deterministic: %s)',
    (deterministic) => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 60 }), (steps) => runSteps(steps, deterministic)),
        { numRuns: 1500 },
      );
    },
  );

  it('bound the log by snapshots', () => {
    const session = owner({ replay: true, sessionBoundBytes: 1 << 20, logBoundBytes: 1024 });
    const store = createBuddyStore();
    let most = 0;
    let state: PlainData = 0;
    for (let i = 1; i <= 2000; i++) {
      session.received(Buffer.alloc(10));
      state = 'x'.repeat(i % 50);
      const commit = session.commit({ consumed: i * 10, state });
      if (commit !== undefined) store.receive('a', commit);
      session.committed(session.n);
      most = Math.max(most, store.keptBytes);
    }
    expect(most).toBeLessThan(1024 + 1100 + 200);
    expect(store.takeOver('a', 's1', 1).n).toBe(session.n);
  });
});

describe('a planned move, at the buddies', () => {
  const started = (): { store: ReturnType<typeof createBuddyStore>; session: OwnerSession } => {
    const store = createBuddyStore();
    const session = owner();
    session.received(Buffer.from('ab'));
    store.receive('a', must(session.commit({ consumed: 1, state: 'one' })));
    return { store, session };
  };

  it('hands the replica out and goes on keeping it: a move that comes to nothing has changed nothing', () => {
    const { store, session } = started();
    expect(store.peek('a', 's1', 1)).toMatchObject({ n: 1, state: 'one', consumed: 1, inputEnd: 2 });
    expect(store.peek('a', 's1', 2)).toBeUndefined();
    session.received(Buffer.from('c'));
    store.receive('a', must(session.commit({ consumed: 3, state: 'two' })));
    expect(store.newestOf('a', 's1', 1)).toBe(2);
    expect(store.list('a')).toHaveLength(1);
  });

  it("refuses commits of the epoch the move has ended, and forgets it at its owner's last word", () => {
    const { store, session } = started();
    store.endEpoch('a', 's1', 1);
    session.received(Buffer.from('c'));
    expect(refusal(store.receive('a', must(session.commit({ consumed: 3, state: 'two' }))))).toBe(
      'stale_epoch',
    );
    expect([store.sessions, store.list('a').length]).toEqual([0, 0]);
    store.receive('a', { t: 'forget', id: 's1', epoch: 1 });
    expect(store.keptBytes).toBe(0);
  });

  it('takes the session again when it comes back under a higher epoch', () => {
    const { store } = started();
    store.endEpoch('a', 's1', 1);
    const again = owner({}, 5);
    store.receive('a', must(again.commit({ consumed: 0, state: 'back' })));
    store.receive('a', { t: 'forget', id: 's1', epoch: 1 });
    expect(store.peek('a', 's1', 5)).toMatchObject({ n: 1, state: 'back' });
  });
});
