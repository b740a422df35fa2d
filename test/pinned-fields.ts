/**
 * Structs as the record of a layout version has them (bpf/NAME/pinned): for tests of what reads and writes them, which would
 * share a mistake with the generated offsets if they took those.
 */
import { readFileSync } from 'node:fs';

/** A field in a value's bytes; what has no other width is an array. */
interface PinnedField {
  readonly name: string;
  readonly at: number;
  readonly bytes: number;
}

/** A struct of a pinned map. */
export interface PinnedStruct {
  readonly bytes: number;
  readonly fields: readonly PinnedField[];
}

/** Of bpf/`room`, in version `version`. */
export function pinnedStruct(room: 'steering' | 'guard', version: number, struct: string): PinnedStruct {
  const file = new URL(`../bpf/${room}/pinned/layout-${version}.txt`, import.meta.url);
  const lines = readFileSync(file, 'utf8').split('\n');
  const heading = new RegExp(`^( *)struct ${struct}(\\[\\d+\\])?, (\\d+) bytes$`);
  const first = lines.findIndex((line) => heading.test(line));
  const [, indent = '', count = '', bytes] = heading.exec(lines[first] ?? '') ?? [];
  if (bytes === undefined) throw new Error(`${file.pathname} has no struct ${struct}`);
  const fields: PinnedField[] = [];
  for (const line of lines.slice(first + 1)) {
    if (!line.startsWith(`${indent} `)) break;
    const [, inner, name = '', bits, times, at] =
      /^( +)(\w+): u(\d+)(?:\[(\d+)\])? at (\d+)$/.exec(line) ?? [];
    if (inner?.length !== indent.length + 2) continue;
    fields.push({ name, at: Number(at), bytes: (Number(bits) / 8) * Number(times ?? 1) });
  }
  return { bytes: Number(bytes) / Number(count.slice(1, -1) || 1), fields };
}

/** Bit fields of a struct that is one word. */
export function pinnedBits(
  room: 'steering' | 'guard',
  version: number,
  struct: string,
): Array<{ readonly name: string; readonly at: number; readonly bits: number }> {
  const file = new URL(`../bpf/${room}/pinned/layout-${version}.txt`, import.meta.url);
  const heading = new RegExp(String.raw`struct ${struct}, 8 bytes\n((?: +\w+: bits .*\n)+)`);
  const [, body = ''] = heading.exec(readFileSync(file, 'utf8')) ?? [];
  return [...body.matchAll(/(\w+): bits (\d+) to (\d+)/g)].map(([, name = '', from, to]) => {
    return { name, at: Number(from), bits: Number(to) - Number(from) + 1 };
  });
}

/** As TypeScript writes the name. */
export function camelCase(name: string): string {
  return name.replace(/_(\w)/g, (_all, letter: string) => letter.toUpperCase());
}

/** A value with another number in each field; an array's bytes are those of its number. */
export function fillStruct(struct: PinnedStruct, numberOf: (name: string, i: number) => number): Buffer {
  const value = Buffer.alloc(struct.bytes);
  struct.fields.forEach(({ name, at, bytes }, i) => {
    const number = numberOf(name, i);
    if (bytes === 8) value.writeBigUInt64LE(BigInt(number), at);
    else if (bytes <= 4) value.writeUIntLE(number, at, bytes);
    else value.fill(number, at, at + bytes);
  });
  return value;
}

/** Numbers by field, as `fillStruct` wrote them. */
export function readStruct(struct: PinnedStruct, value: Buffer, start = 0): Record<string, number> {
  return Object.fromEntries(
    struct.fields
      .filter(({ bytes }) => bytes <= 8)
      .map(({ name, at, bytes }) => [
        name,
        bytes === 8 ? Number(value.readBigUInt64LE(start + at)) : value.readUIntLE(start + at, bytes),
      ]),
  );
}
