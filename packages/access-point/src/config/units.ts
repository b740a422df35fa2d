/**
 * Quantities as people write them in a configuration: always with their unit, because `timeout: 50` has cost somebody a
 * night in every system that allows it.
 */

const durationUnits: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const byteUnits: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  kB: 1000,
  MB: 1000 ** 2,
  GB: 1000 ** 3,
};

const bitRateUnits: Readonly<Record<string, number>> = { kbit: 1e3, Mbit: 1e6, Gbit: 1e9 };

/** A quantity read, or what is wrong and what would be right. */
export type Quantity = { readonly value: number } | { readonly problem: string; readonly remedy: string };

/** `50ms`, `2s`, `1.5m`, `1h`, `1d` to milliseconds. */
export function parseDuration(raw: unknown): Quantity {
  return parseQuantity(raw, durationUnits, {
    what: 'a duration',
    examples: '50ms, 2s, 10m or 1h',
    guess: 'ms',
  });
}

/** `100Mbit`, `10Gbit` to bits a second. */
export function parseBitRate(raw: unknown): Quantity {
  return parseQuantity(raw, bitRateUnits, {
    what: 'a bandwidth',
    examples: '100Mbit or 10Gbit (a second)',
    guess: 'Mbit',
  });
}

/** `64MiB`, `1GiB`, `1500B`, `10MB` to bytes. */
export function parseBytes(raw: unknown): Quantity {
  const read = parseQuantity(raw, byteUnits, { what: 'a size', examples: '64KiB, 1MiB or 2GiB', guess: 'B' });
  if ('value' in read && !Number.isInteger(read.value)) {
    return {
      problem: `${String(raw)} is not a whole number of bytes`,
      remedy: 'write a whole number of bytes, such as 1536KiB',
    };
  }
  return read;
}

interface QuantityWords {
  readonly what: string;
  readonly examples: string;
  readonly guess: string;
}

function parseQuantity(
  raw: unknown,
  units: Readonly<Record<string, number>>,
  words: QuantityWords,
): Quantity {
  const expected = `write ${words.what} with its unit, such as ${words.examples}`;
  if (typeof raw === 'number') {
    return {
      problem: `${raw} has no unit`,
      remedy: `${expected}; if you meant ${words.guess}: ${raw}${words.guess}`,
    };
  }
  if (typeof raw !== 'string') return { problem: `expected ${words.what}`, remedy: expected };
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(raw.trim());
  if (match === null) return { problem: `${JSON.stringify(raw)} is not ${words.what}`, remedy: expected };
  const [, number = '', unit = ''] = match;
  if (unit === '') {
    return {
      problem: `${raw} has no unit`,
      remedy: `${expected}; if you meant ${words.guess}: ${raw}${words.guess}`,
    };
  }
  const factor = Object.hasOwn(units, unit) ? units[unit] : undefined;
  if (factor === undefined) {
    return {
      problem: `${JSON.stringify(unit)} is no unit here`,
      remedy: `units are ${Object.keys(units).join(', ')}`,
    };
  }
  return { value: Number(number) * factor };
}
