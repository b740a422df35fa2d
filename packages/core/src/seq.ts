/** TCP sequence numbers: unsigned 32 bits that wrap (RFC 9293 §3.4). Never compare them with `<`. */

/** (a + n) mod 2^32; `n` may be negative. */
export function addSeq(a: number, n: number): number {
  return (a + n) >>> 0;
}

/** Signed distance from b to a, in (−2^31, 2^31]. */
export function diffSeq(a: number, b: number): number {
  const d = (a - b) >>> 0;
  return d > 0x80000000 ? d - 0x100000000 : d;
}

/** True if a comes before b. */
export function isSeqBefore(a: number, b: number): boolean {
  return diffSeq(a, b) < 0;
}

/** True if low ≤ a ≤ high, going round the wrap. */
export function isSeqWithin(a: number, low: number, high: number): boolean {
  return (a - low) >>> 0 <= (high - low) >>> 0;
}
