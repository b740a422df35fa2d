/** Session state that travels: checked where the application set it, so that the error names the key and not the wire. */
import { type PlainData } from '@restitch/wire';
import { RestitchError } from '@restitch/core';

const maxDepth = 64;

/** Throws `usage` naming the path of the first value that a session image cannot carry. */
export function assertPlainData(value: unknown, what: string): asserts value is PlainData {
  check(value, what, 0);
}

function check(value: unknown, path: string, depth: number): void {
  if (depth > maxDepth) throw refuse(path, `nested deeper than ${maxDepth} levels (or a cycle)`);
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return;
    case 'undefined':
      return;
    case 'number':
      if (!Number.isFinite(value)) throw refuse(path, `the number ${String(value)}`);
      return;
    case 'object':
      break;
    default:
      throw refuse(path, `a ${typeof value}`);
  }
  if (value === null || value instanceof Uint8Array) return;
  if (Array.isArray(value)) {
    value.forEach((item, i) => check(item, `${path}[${i}]`, depth + 1));
    return;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw refuse(path, `a ${(value as object).constructor?.name ?? 'foreign object'}`);
  }
  for (const [key, item] of Object.entries(value as object)) {
    if (key === '__proto__') throw refuse(path, 'a key named __proto__');
    check(item, `${path}.${key}`, depth + 1);
  }
}

function refuse(path: string, what: string): RestitchError {
  return new RestitchError(
    'usage',
    `${path} holds ${what}; only null, booleans, finite numbers, strings, Uint8Array, arrays and plain objects travel`,
    { details: { path } },
  );
}
