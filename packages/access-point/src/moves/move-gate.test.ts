import { expect, it } from 'vitest';
import { Endpoint } from '../model/endpoint-registry.js';
import { MoveGate } from './move-gate.js';
import type { Move } from './move.js';
import { VirtualClock } from '../testing/virtual-clock.js';

const budgetMs = 50;

class Played {
  readonly clock = new VirtualClock();
  readonly gate = new MoveGate(this.clock, () => budgetMs);
  readonly a = new Endpoint('a', 1, 1);
  readonly b = new Endpoint('b', 2, 1);
  readonly c = new Endpoint('c', 3, 1);
  readonly admitted: Move[] = [];

  move(source: Endpoint, target: Endpoint): Move {
    const move = { source, target, holdNs: 0n, switchNs: 0n, failure: undefined } as unknown as Move;
    Object.assign(move, { post: () => this.admitted.push(move) });
    this.gate.enter(move);
    return move;
  }

  commit(move: Move | undefined, tookMs: number): void {
    if (move === undefined) throw new Error('no move');
    Object.assign(move, { holdNs: 1n, switchNs: 1n + BigInt(tookMs * 1e6) });
    this.gate.leave(move);
  }
}

it('lets in as many as fit at both ends, and the next when one leaves', () => {
  const p = new Played();
  const moves = Array.from({ length: 6 }, () => p.move(p.a, p.b));
  expect(p.admitted).toEqual(moves.slice(0, 4));
  p.commit(moves[0], 20);
  expect(p.admitted).toEqual(moves.slice(0, 5));
});

it('does not let one pair keep another waiting', () => {
  const p = new Played();
  for (let i = 0; i < 6; i++) p.move(p.a, p.b);
  const d = new Endpoint('d', 4, 1);
  const other = p.move(p.c, d);
  expect(p.admitted).toContain(other);
});

it('grows while moves are quick and halves once for a burst of slow ones', async () => {
  const p = new Played();
  for (let i = 0; i < 200; i++) p.commit(p.move(p.a, p.b), 1);
  const wide = p.gate.widthOf(p.a);
  expect(wide).toBeGreaterThan(10);
  await p.clock.advance(1000);
  const slow = Array.from({ length: 8 }, () => p.move(p.a, p.b));
  for (const move of slow) p.commit(move, 45);
  expect(p.gate.widthOf(p.a)).toBeCloseTo(wide / 2);
});

it('never closes altogether', async () => {
  const p = new Played();
  for (let i = 0; i < 20; i++) {
    await p.clock.advance(1000);
    p.commit(p.move(p.a, p.b), 49);
  }
  expect(p.gate.widthOf(p.a)).toBe(1);
  const move = p.move(p.a, p.b);
  expect(p.admitted).toContain(move);
});

it('forgets a move that gives up waiting', () => {
  const p = new Played();
  const moves = Array.from({ length: 6 }, () => p.move(p.a, p.b));
  p.gate.leave(moves[4] as Move);
  p.commit(moves[0], 20);
  expect(p.admitted).toEqual([...moves.slice(0, 4), moves[5]]);
});
