import { describe, expect, it } from 'vitest';
import { parseBytes, parseDuration } from './units.js';

describe('quantities', () => {
  it.each([
    ['50ms', 50],
    ['2s', 2000],
    ['1.5m', 90_000],
    ['1h', 3_600_000],
    ['1d', 86_400_000],
    [' 5 s ', 5000],
    ['0s', 0],
  ])('%s is %d ms', (text, value) => {
    expect(parseDuration(text)).toEqual({ value });
  });

  it.each([
    ['64KiB', 65536],
    ['1MiB', 1048576],
    ['2GiB', 2147483648],
    ['10MB', 10_000_000],
    ['1500B', 1500],
    ['1.5KiB', 1536],
  ])('%s is %d bytes', (text, value) => {
    expect(parseBytes(text)).toEqual({ value });
  });

  it.each([
    50,
    '50',
    '50 seconds',
    '-5s',
    '5S',
    's',
    '',
    null,
    true,
    [],
    '1e3s',
    '٥s',
    'constructor',
    '5constructor',
  ])('a duration is not %j, and it says what would be', (raw) => {
    expect(parseDuration(raw)).toMatchObject({
      problem: expect.any(String),
      remedy: expect.stringMatching(/ms/),
    });
  });

  it('names the unit that was probably meant', () => {
    expect(parseDuration(50)).toMatchObject({ remedy: expect.stringContaining('50ms') });
    expect(parseBytes('64mb')).toMatchObject({ problem: '"mb" is no unit here' });
    expect(parseBytes('0.3B')).toMatchObject({ problem: expect.stringContaining('whole number') });
  });
});
