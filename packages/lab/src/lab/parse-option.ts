/** Command line values to numbers; what does not fit is a usage error that says what would. */
import { InvalidArgumentError } from 'commander';
import { lifeKinds } from '../load/lives/life-kinds.js';
import type { LifeKind } from '../load/lives/life-kinds.js';
import { minRecordBytes } from '../load/clients/records.js';

/** A whole number of at least 1. */
export function parseCount(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InvalidArgumentError('expected a whole number from 1.');
  return value;
}

/** A whole number of at least 0. */
export function parseWhole(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0)
    throw new InvalidArgumentError('expected a whole number from 0.');
  return value;
}

/** Milliseconds, 0 to 10,000. */
export function parseMs(text: string): number {
  const value = Number(text);
  if (!(value >= 0 && value <= 10_000)) throw new InvalidArgumentError('expected milliseconds, 0 to 10000.');
  return value;
}

/** A ratio, 0 to 1. */
export function parseRatio(text: string): number {
  const value = Number(text);
  if (!(value >= 0 && value <= 1)) throw new InvalidArgumentError('expected a ratio, 0 to 1.');
  return value;
}

/** Bytes of a record: it holds its session and number, and fits one read. */
export function parsePayload(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < minRecordBytes || value > 65_536) {
    throw new InvalidArgumentError(`expected bytes, ${minRecordBytes} to 65536.`);
  }
  return value;
}

/** `all`, `none`, or kinds of phase clients with commas between them. */
export function parseLifeKinds(text: string): readonly LifeKind[] {
  if (text === 'all') return lifeKinds;
  if (text === 'none') return [];
  const names = text.split(',');
  const known = names.flatMap((name) => lifeKinds.filter((kind) => kind === name));
  if (known.length < names.length)
    throw new InvalidArgumentError(`expected all, none, or some of ${lifeKinds.join(',')}.`);
  return known;
}
