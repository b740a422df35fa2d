/** Mutations of bytes, of plain values and of text: small ones near what is valid find more than noise does. */
import type { Random } from './random.js';

const tokens = [
  0x00, 0x7f, 0x80, 0x81, 0x8f, 0x90, 0xa0, 0xbf, 0xc0, 0xc1, 0xc4, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcf, 0xd3,
  0xd4, 0xd8, 0xd9, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xe0, 0xff,
];
const lengths = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff];

/** One to four changes of bytes; `other` is spliced in now and then. */
export function mutateBytes(input: Uint8Array, other: Uint8Array, random: Random): Buffer {
  let bytes: Buffer = Buffer.from(input);
  for (let n = 1 + random.below(4); n > 0; n--) bytes = changeBytes(bytes, other, random);
  return bytes;
}

function changeBytes(bytes: Buffer, other: Uint8Array, random: Random): Buffer {
  const at = random.below(bytes.length + 1);
  const length = 1 + random.below(16);
  switch (random.below(8)) {
    case 0:
      if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
      return bytes;
    case 1:
      if (at < bytes.length) bytes[at] = random.pick(tokens);
      return bytes;
    case 2:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
    case 3:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at, at + length), bytes.subarray(at)]);
    case 4:
      return Buffer.concat([bytes.subarray(0, at), Buffer.from([random.pick(tokens)]), bytes.subarray(at)]);
    case 5:
      if (bytes.length - at >= 4) bytes.writeUInt32BE(random.pick(lengths), at);
      return bytes;
    case 6:
      return bytes.subarray(0, at);
    default: {
      const from = random.below(other.length + 1);
      return Buffer.concat([bytes.subarray(0, at), other.subarray(from)]);
    }
  }
}

const oddValues: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1.5,
  2 ** 32,
  2 ** 53,
  -(2 ** 31),
  Number.NaN,
  Number.POSITIVE_INFINITY,
  1n << 63n,
  '',
  'a',
  'x'.repeat(5000),
  '__proto__',
  'constructor',
  '10.0.0.256',
  '::1',
  '\u0000',
  '\ud800',
  [],
  {},
  [[[[[[]]]]]],
  { t: 'hello' },
  Buffer.alloc(0),
  Buffer.alloc(100, 1),
];

/** A plain value with one place changed: another value, a key fewer or more, a list that is longer. */
export function mutateValue(value: unknown, random: Random): unknown {
  if (value instanceof Uint8Array || typeof value !== 'object' || value === null || random.chance(0.1)) {
    return random.pick(oddValues);
  }
  if (Array.isArray(value)) {
    const list = [...(value as unknown[])];
    if (list.length === 0 || random.chance(0.2)) return [...list, random.pick(oddValues)];
    if (random.chance(0.1)) return Array.from({ length: 5000 }, () => list[0]);
    const at = random.below(list.length);
    list[at] = mutateValue(list[at], random);
    return list;
  }
  const copy: Record<string, unknown> = { ...(value as Record<string, unknown>) };
  const keys = Object.keys(copy);
  const key = keys.length === 0 ? 'added' : random.pick(keys);
  const kind = random.below(10);
  if (kind === 0) delete copy[key];
  else if (kind === 1) copy[random.pick(['added', 'rq', 're', 't', 'constructor'])] = random.pick(oddValues);
  else copy[key] = mutateValue(copy[key], random);
  return copy;
}

const textBits = [
  ': ',
  '\n',
  '\n  - ',
  '  ',
  '\t',
  '{',
  '}',
  '[',
  ']',
  '&a ',
  '*a',
  '!!binary ',
  '"',
  "'",
  '|\n',
  '#',
  '---\n',
  '<<: ',
  '50',
  '50ms',
  '-1',
  '1e9',
  'null',
  '~',
  '\u0000',
  '\ufeff',
  '__proto__',
  '🙂',
  '?',
  '%TAG',
];

/** Text with one to three places changed. */
export function mutateText(input: string, random: Random): string {
  let text = input;
  for (let n = 1 + random.below(3); n > 0; n--) {
    const at = random.below(text.length + 1);
    const cut = random.chance(0.5) ? random.below(20) : 0;
    const lines = text.split('\n');
    if (random.chance(0.2)) text = [...lines, random.pick(lines)].join('\n');
    else text = text.slice(0, at) + random.pick(textBits) + text.slice(at + cut);
  }
  return text;
}
