/**
 * Which sessions of a source to take when their loads must fit its need: 0/1 knapsack by dynamic programming on a grid. Greedy
 * by density loses several percent when a need is worth only a handful of sessions, which is the usual case.
 * Source: Bellman, "Dynamic Programming", 1957; loads are rounded up to the grid, so a choice never exceeds the need.
 */

/** Steps the need is cut into: rounding loses at most 1/10,000 of it an item. */
const GRID = 10_000;

/** Indexes of the chosen items; all with a positive value when `capacity` is infinite. */
export function chooseItems(values: Float64Array, loads: Float64Array, capacity: number): number[] {
  const useful = [...values.keys()].filter((i) => values[i]! > 0 && loads[i]! <= capacity);
  const sum = useful.reduce((total, i) => total + loads[i]!, 0);
  if (sum <= capacity) return useful;
  const sizes = useful.map((i) => Math.ceil((loads[i]! / capacity) * GRID - 1e-9));
  const best = new Float64Array(GRID + 1);
  const taken = new Uint8Array(useful.length * (GRID + 1));
  useful.forEach((item, k) => {
    const size = sizes[k]!;
    const value = values[item]!;
    for (let room = GRID; room >= size; room--) {
      const withItem = best[room - size]! + value;
      if (withItem > best[room]!) {
        best[room] = withItem;
        taken[k * (GRID + 1) + room] = 1;
      }
    }
  });
  const chosen: number[] = [];
  let room = GRID;
  for (let k = useful.length - 1; k >= 0; k--) {
    if (taken[k * (GRID + 1) + room] === 0) continue;
    chosen.push(useful[k]!);
    room -= sizes[k]!;
  }
  return chosen;
}
