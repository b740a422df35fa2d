/**
 * Shadow prices of rooms, needs and the move budget by subgradient steps on the Lagrangian dual of the assignment: a greedy
 * pass that knows them does not waste the room others need more.
 * Source: Fisher, "The Lagrangian relaxation method for solving integer programming problems", Management Science 27, 1981.
 */
import { costOf, gainOf, isAllowed } from './objective.js';
import type { PlanContext, Prices } from './plan-context.js';

const ROUNDS = 60;
/** Prices handed out: the average settles, the last is the sharpest. */
const TRIES = [20, 40, 60] as const;

/** Yields a few price vectors, better with time. */
export function* findPrices(context: PlanContext, order: Int32Array): Generator<Prices> {
  const { fleet, objective, targets } = context;
  const { sessions, endpoints } = fleet;
  const width = targets.length;
  const values = new Float64Array(order.length * width).fill(Number.NEGATIVE_INFINITY);
  let scale = 0;
  for (let i = 0; i < order.length; i++) {
    const s = order[i]!;
    for (let k = 0; k < width; k++) {
      const e = targets[k]!;
      if (!isAllowed(fleet, s, e)) continue;
      const value = gainOf(fleet, objective, s, sessions.endpoint[s]!, e) - costOf(fleet, objective, s, e);
      values[i * width + k] = value;
      if (value > 0) scale += value / Math.max(sessions.load[s]!, 1e-12) / order.length;
    }
  }
  const prices = {
    target: new Float64Array(endpoints.count),
    source: new Float64Array(endpoints.count),
    move: 0,
  };
  const averageLoad = order.reduce((sum, s) => sum + sessions.load[s]!, 0) / Math.max(1, order.length);
  const used = new Float64Array(endpoints.count);
  const left = new Float64Array(endpoints.count);
  for (let round = 1; round <= ROUNDS; round++) {
    used.fill(0);
    left.fill(0);
    let moves = 0;
    for (let i = 0; i < order.length; i++) {
      const s = order[i]!;
      const load = sessions.load[s]!;
      const from = sessions.endpoint[s]!;
      let best = 0;
      let to = -1;
      for (let k = 0; k < width; k++) {
        const reduced =
          values[i * width + k]! - load * (prices.target[targets[k]!]! + prices.source[from]!) - prices.move;
        if (reduced > best) {
          best = reduced;
          to = targets[k]!;
        }
      }
      if (to < 0) continue;
      used[to] = used[to]! + load;
      left[from] = left[from]! + load;
      moves++;
    }
    const step = (0.5 * scale) / Math.sqrt(width) / Math.sqrt(round);
    for (const e of targets) {
      const room = Math.max(context.room[e]!, context.rescueRoom[e]!);
      const excess = (used[e]! - room) / Math.max(room, 1e-12);
      prices.target[e] = Math.max(0, prices.target[e]! + step * Math.max(-1, Math.min(1, excess)));
    }
    for (let e = 0; e < endpoints.count; e++) {
      if (!(context.need[e]! > 0) || !Number.isFinite(context.need[e]!)) continue;
      const excess = (left[e]! - context.need[e]!) / context.need[e]!;
      prices.source[e] = Math.max(0, prices.source[e]! + step * Math.max(-1, Math.min(1, excess)));
    }
    const excess = (moves - objective.maxMoves) / objective.maxMoves;
    prices.move = Math.max(0, prices.move + step * averageLoad * Math.max(-1, Math.min(1, excess)));
    if ((TRIES as readonly number[]).includes(round)) {
      yield { target: prices.target.slice(), source: prices.source.slice(), move: prices.move };
    }
  }
}
