/** Order statistics without a full sort: leaf values of a quantile tree need one number out of thousands. */

/** Value of rank `rank` (0-based) among `values[0, count)`; reorders them (Hoare's quickselect, expected O(count)). */
export function selectRank(values: Float64Array, count: number, rank: number): number {
  let low = 0;
  let high = count - 1;
  while (low < high) {
    const pivot = values[(low + high) >> 1]!;
    let i = low;
    let j = high;
    while (i <= j) {
      while (values[i]! < pivot) i++;
      while (values[j]! > pivot) j--;
      if (i <= j) {
        const swap = values[i]!;
        values[i] = values[j]!;
        values[j] = swap;
        i++;
        j--;
      }
    }
    if (rank <= j) high = j;
    else if (rank >= i) low = i;
    else break;
  }
  return values[rank]!;
}

/** The `ratio` quantile (lower neighbour) of `values[0, count)`; reorders them; 0 when there are none. */
export function selectQuantile(values: Float64Array, count: number, ratio: number): number {
  if (count === 0) return 0;
  return selectRank(values, count, Math.min(count - 1, Math.floor(ratio * count)));
}
