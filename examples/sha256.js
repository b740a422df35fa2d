// SHA-256 (FIPS 180-4) whose state is plain data: {h: eight words, block: bytes not yet hashed, bytes: length so far}.
const primes = [];
for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p !== 0)) primes.push(n);
const fraction = (root) => Math.floor((root - Math.floor(root)) * 2 ** 32) | 0;
const k = primes.map((p) => fraction(Math.cbrt(p)));
const rotate = (x, n) => (x >>> n) | (x << (32 - n));

/** A fresh state. */
export function createSha256() {
  return { h: primes.slice(0, 8).map((p) => fraction(Math.sqrt(p))), block: new Uint8Array(), bytes: 0 };
}

/** Adds bytes. */
export function updateSha256(state, bytes) {
  const all = Buffer.concat([state.block, bytes]);
  let at = 0;
  for (; at + 64 <= all.length; at += 64) hashBlock(state.h, all, at);
  state.block = new Uint8Array(all.subarray(at));
  state.bytes += bytes.length;
}

/** The digest in hexadecimal; the state is used up. */
export function finishSha256(state) {
  const { bytes } = state;
  const padding = Buffer.alloc(((bytes + 8) & ~63) + 64 - bytes);
  padding[0] = 0x80;
  padding.writeBigUInt64BE(BigInt(bytes) * 8n, padding.length - 8);
  updateSha256(state, padding);
  return state.h.map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
}

function hashBlock(state, block, at) {
  const w = new Int32Array(64);
  for (let i = 0; i < 16; i++) w[i] = block.readInt32BE(at + 4 * i);
  for (let i = 16; i < 64; i++) {
    const s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >>> 3);
    const s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >>> 10);
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let i = 0; i < 64; i++) {
    const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + k[i] + w[i]) | 0;
    const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((word, i) => {
    state[i] = (state[i] + word) | 0;
  });
}
