/** Checks of single values by hand, for what is on a hot path: between hold and switch, and on the way of a commit. */

/** A plain object's fields, nothing known of them. */
export type Fields = Readonly<Record<string, unknown>>;

/** A plain object with exactly so many keys: one more would have to be left out. */
export function isFields(value: unknown, keys: number): value is Fields {
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    return false;
  return Object.keys(value).length === keys;
}

/** An unsigned integer of 32 bits. */
export function isU32(value: unknown): boolean {
  return isNatural(value, 0xffffffff);
}

/** An integer from 0 to `max`. */
export function isNatural(value: unknown, max: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= max;
}

/** A finite number, 0 or more. */
export function isNonNegative(value: unknown): boolean {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

/** Text of `min` to `max` UTF-16 units. */
export function isText(value: unknown, min: number, max: number): boolean {
  return typeof value === 'string' && value.length >= min && value.length <= max;
}

/** True or false. */
export function isBoolean(value: unknown): boolean {
  return typeof value === 'boolean';
}

/** Bytes. */
export function isBytes(value: unknown): boolean {
  return value instanceof Uint8Array;
}

const maxMs = 86_400_000;
const maxEpoch = 0xffffff;
const idPattern = /^[!-~]{1,64}$/;

/** As `id` in fields.ts. */
export function isId(value: unknown): value is string {
  return typeof value === 'string' && idPattern.test(value);
}

/** As `epochSchema` in fields.ts. */
export function isEpoch(value: unknown): boolean {
  return isNatural(value, maxEpoch);
}

/** As `ms` in fields.ts. */
export function isMs(value: unknown): boolean {
  return isNonNegative(value) && (value as number) <= maxMs;
}

/** What a message says it is. */
export function kindOf(value: unknown): unknown {
  return typeof value === 'object' && value !== null ? (value as Fields)['t'] : undefined;
}
