/** Sorting a million handles by a number: native typed-array sorts of numbers are fast, comparators are not. */

/** Handles by descending key; equal keys by ascending `tie`, so the order of the input does not matter. */
export function sortByKeyDescending(handles: Int32Array, keys: Float64Array, tie: Uint32Array): Int32Array {
  const count = handles.length;
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const key of keys) {
    if (key < low) low = key;
    if (key > high) high = key;
  }
  // Bucket by key first, then sort the small buckets exactly: O(n) for spread keys, never worse than O(n log n).
  const buckets = Math.max(1, Math.min(65_536, count >> 2));
  const width = high > low ? (high - low) / buckets : 1;
  const bucketOf = new Int32Array(count);
  const starts = new Int32Array(buckets + 1);
  for (let i = 0; i < count; i++) {
    const b = buckets - 1 - Math.min(buckets - 1, Math.floor((keys[i]! - low) / width));
    bucketOf[i] = b;
    starts[b + 1] = starts[b + 1]! + 1;
  }
  for (let b = 0; b < buckets; b++) starts[b + 1] = starts[b + 1]! + starts[b]!;
  const place = starts.slice();
  const index = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const b = bucketOf[i]!;
    index[place[b]!] = i;
    place[b] = place[b]! + 1;
  }
  for (let b = 0; b < buckets; b++) {
    const from = starts[b]!;
    const to = starts[b + 1]!;
    if (to - from < 2) continue;
    index
      .subarray(from, to)
      .sort(
        (x, y) => keys[y]! - keys[x]! || tie[handles[x]!]! - tie[handles[y]!]! || handles[x]! - handles[y]!,
      );
  }
  return Int32Array.from(index, (i) => handles[i]!);
}
