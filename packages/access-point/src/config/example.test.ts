import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { expect, it } from 'vitest';
import { knownKeys } from './known-keys.js';
import { parseConfig } from './parse-config.js';
import { daemonFileSchema } from './schema.js';

const text = readFileSync(new URL('../../../../deploy/access-point.yaml', import.meta.url), 'utf8');
const defaultsFrom = '# Everything from here on may be left out';

it('the example in deploy/ is good, and what it calls defaults are the defaults', () => {
  const [needed = '', defaults = ''] = text.split(defaultsFrom);
  expect(defaults).not.toBe('');
  expect(parseConfig(text)).toEqual(parseConfig(needed));
});

it('the example in deploy/ names every key there is', () => {
  const paths = (path: string[]): string[][] =>
    knownKeys(daemonFileSchema, path).flatMap((key) => [[...path, key], ...paths([...path, key])]);
  const example: unknown = parse(text);
  for (const path of paths([])) {
    const value = path.reduce<unknown>(
      (at, key) => (at as Record<string, unknown> | undefined)?.[key],
      example,
    );
    const isCommented = new RegExp(`^ *#.*\\b${path.at(-1)}:`, 'm').test(text);
    expect(value !== undefined || isCommented, path.join('.')).toBe(true);
  }
});
