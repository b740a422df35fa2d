/**
 * Differences of plain data: small where little changed.
 *
 * A general diff library walks by JSON pointer and knows no bytes; session state has byte arrays that grow at the end,
 * so a splice of strings, bytes and arrays (common prefix and suffix kept) is most of what is needed.
 */
import { RestitchError } from '@restitch/core';
import type { PlainData } from '../codec/plain-codec.js';

/** null: the same. r: replaced. o/d: keys changed and deleted. s: [keep at front, keep at back, what comes between]. */
export type PlainPatch =
  | null
  | { readonly r: PlainData }
  | { readonly o: Readonly<Record<string, PlainPatch>>; readonly d?: readonly string[] }
  | { readonly s: readonly [number, number, PlainData] };

type PlainRecord = { readonly [key: string]: PlainData | undefined };

/** Deeper state is refused: the walk is recursive and its input comes from another host. */
const maxDepth = 64;

/** What turns `before` into `after`. */
export function diffPlain(before: PlainData, after: PlainData, depth = 0): PlainPatch {
  if (Object.is(before, after)) return null;
  if (depth > maxDepth) return { r: after };
  if (typeof before === 'string' && typeof after === 'string')
    return spliceOf(before, after, (a, b) => a === b);
  if (before instanceof Uint8Array && after instanceof Uint8Array) {
    return spliceOf(before, after, (a, b) => a === b);
  }
  if (isArray(before) && isArray(after)) {
    return spliceOf(before, after, (a, b) => diffPlain(a, b, depth + 1) === null);
  }
  if (isRecord(before) && isRecord(after)) return diffRecords(before, after, depth);
  return { r: after };
}

/** `before` with the patch applied. Throws `message_invalid` if the patch does not fit. */
export function applyPlainPatch(before: PlainData, patch: PlainPatch, depth = 0): PlainData {
  if (patch === null) return before;
  if (depth > maxDepth) throw misfit('nested deeper than the bound');
  if ('r' in patch) return patch.r;
  if ('s' in patch) return applySplice(before, patch.s);
  if (!isRecord(before)) throw misfit('keys changed in what is no record');
  const after: Record<string, PlainData | undefined> = { ...before };
  for (const key of patch.d ?? []) delete after[key];
  for (const [key, part] of Object.entries(patch.o)) {
    setOwn(
      after,
      key,
      applyPlainPatch((Object.hasOwn(after, key) ? after[key] : null) ?? null, part, depth + 1),
    );
  }
  return after;
}

interface Sequence<T> {
  readonly length: number;
  readonly [index: number]: T;
  slice(start: number, end: number): unknown;
}

function spliceOf<T>(before: Sequence<T>, after: Sequence<T>, isSame: (a: T, b: T) => boolean): PlainPatch {
  const bound = Math.min(before.length, after.length);
  let front = 0;
  while (front < bound && isSame(before[front] as T, after[front] as T)) front++;
  let back = 0;
  while (
    back < bound - front &&
    isSame(before[before.length - 1 - back] as T, after[after.length - 1 - back] as T)
  ) {
    back++;
  }
  if (front === before.length && front === after.length) return null;
  if (front + back === 0) return { r: after as unknown as PlainData };
  return { s: [front, back, after.slice(front, after.length - back) as PlainData] };
}

function applySplice(
  before: PlainData,
  [front, back, middle]: readonly [number, number, PlainData],
): PlainData {
  const isCount = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
  const isSequence = typeof before === 'string' || before instanceof Uint8Array || isArray(before);
  if (!isSequence || !isCount(front) || !isCount(back) || front + back > before.length) {
    throw misfit('a splice is longer than what it cuts');
  }
  const tail = before.length - back;
  if (typeof before === 'string' && typeof middle === 'string') {
    return before.slice(0, front) + middle + before.slice(tail);
  }
  if (before instanceof Uint8Array && middle instanceof Uint8Array) {
    return Buffer.concat([before.subarray(0, front), middle, before.subarray(tail)]);
  }
  if (isArray(before) && isArray(middle))
    return [...before.slice(0, front), ...middle, ...before.slice(tail)];
  throw misfit('a splice is of another kind than what it cuts');
}

function diffRecords(before: PlainRecord, after: PlainRecord, depth: number): PlainPatch {
  const changed: Record<string, PlainPatch> = {};
  let hasChanged = false;
  for (const key of Object.keys(after)) {
    const next = after[key] ?? null;
    const isNew = !Object.hasOwn(before, key);
    const part = isNew ? { r: next } : diffPlain(before[key] ?? null, next, depth + 1);
    if (part === null) continue;
    setOwn(changed, key, part);
    hasChanged = true;
  }
  const gone = Object.keys(before).filter((key) => !Object.hasOwn(after, key));
  // The order of keys is part of a state: an application may list them.
  const kept = Object.keys(before).filter((key) => Object.hasOwn(after, key));
  if (Object.keys(after).some((key, i) => i < kept.length && key !== kept[i])) return { r: after };
  if (!hasChanged && gone.length === 0) return null;
  return gone.length === 0 ? { o: changed } : { o: changed, d: gone };
}

/** An own property even for `__proto__`, which plain assignment would send to the prototype. */
function setOwn<T>(target: Record<string, T>, key: string, value: T): void {
  Object.defineProperty(target, key, { value, enumerable: true, writable: true, configurable: true });
}

function isArray(value: PlainData): value is readonly PlainData[] {
  return Array.isArray(value);
}

function isRecord(value: PlainData): value is PlainRecord {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
  );
}

function misfit(what: string): RestitchError {
  return new RestitchError('message_invalid', `state patch does not fit: ${what}`);
}
