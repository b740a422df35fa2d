/**
 * SHA-256 (FIPS 180-4) whose unfinished state is plain data, so that a half-hashed upload can move to another server.
 *
 * node:crypto is six times as fast but keeps its state to itself.
 */

/** An unfinished hash: eight words, the bytes of the block begun, and the length so far. */
export interface Sha256State {
  readonly words: number[];
  pending: Uint8Array;
  lengthBytes: number;
}

const blockBytes = 64;
const roundConstants = firstPrimes(64).map((p) => fraction32(Math.cbrt(p)));
const schedule = new Int32Array(64);

/** The state before the first byte. */
export function createSha256(): Sha256State {
  return {
    words: firstPrimes(8).map((p) => fraction32(Math.sqrt(p))),
    pending: new Uint8Array(0),
    lengthBytes: 0,
  };
}

/** Takes bytes in; changes `state`. */
export function updateSha256(state: Sha256State, bytes: Uint8Array): void {
  state.lengthBytes += bytes.length;
  let offset = 0;
  if (state.pending.length > 0) {
    const wanted = Math.min(blockBytes - state.pending.length, bytes.length);
    const joined = new Uint8Array(state.pending.length + wanted);
    joined.set(state.pending);
    joined.set(bytes.subarray(0, wanted), state.pending.length);
    offset = wanted;
    state.pending = joined;
    if (joined.length < blockBytes) return;
    compress(state.words, joined, 0);
  }
  for (; offset + blockBytes <= bytes.length; offset += blockBytes) compress(state.words, bytes, offset);
  state.pending = bytes.slice(offset);
}

/** Lower-case hexadecimal digest; `state` is left as it was. */
export function finishSha256(state: Sha256State): string {
  const words = [...state.words];
  const padded = new Uint8Array(state.pending.length < 56 ? blockBytes : 2 * blockBytes);
  padded.set(state.pending);
  padded[state.pending.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, Math.floor(state.lengthBytes / 0x20000000));
  view.setUint32(padded.length - 4, (state.lengthBytes << 3) >>> 0);
  for (let offset = 0; offset < padded.length; offset += blockBytes) compress(words, padded, offset);
  return words.map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
}

function compress(h: number[], bytes: Uint8Array, offset: number): void {
  const w = schedule;
  for (let i = 0; i < 16; i++) {
    const at = offset + 4 * i;
    w[i] =
      ((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number);
  }
  for (let i = 16; i < 64; i++) {
    const x = w[i - 15] as number;
    const y = w[i - 2] as number;
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    w[i] = ((w[i - 16] as number) + s0 + (w[i - 7] as number) + s1) | 0;
  }
  let [a, b, c, d, e, f, g, k] = h as [number, number, number, number, number, number, number, number];
  for (let i = 0; i < 64; i++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (k + s1 + ((e & f) ^ (~e & g)) + (roundConstants[i] as number) + (w[i] as number)) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    k = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  [a, b, c, d, e, f, g, k].forEach((value, i) => {
    h[i] = ((h[i] as number) + value) | 0;
  });
}

/** The first 32 bits of the fractional part. */
function fraction32(value: number): number {
  return ((value - Math.floor(value)) * 4294967296) | 0;
}

function firstPrimes(count: number): number[] {
  const primes: number[] = [];
  for (let n = 2; primes.length < count; n++) {
    if (primes.every((p) => n % p !== 0)) primes.push(n);
  }
  return primes;
}
