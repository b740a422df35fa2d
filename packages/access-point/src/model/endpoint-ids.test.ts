import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openEndpointIds } from './endpoint-ids.js';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'restitch-ids-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

it('gives each name a number of its own and keeps it over restarts', () => {
  const first = openEndpointIds(directory);
  expect([first.idOf('a'), first.idOf('b'), first.idOf('a')]).toEqual([1, 2, 1]);
  const second = openEndpointIds(directory);
  expect([second.idOf('c'), second.idOf('b')]).toEqual([3, 2]);
  expect(second.names()).toEqual(['a', 'b', 'c']);
  expect(readdirSync(directory)).toEqual(['endpoint-ids.json']);
});

it.each([
  '',
  '{',
  '{"nextId":0,"ids":{}}',
  '{"nextId":2,"ids":{"a":1},"more":1}',
  '{"nextId":2,"ids":{"A B":1}}',
])('refuses a damaged file %j instead of handing out a number twice', (text) => {
  writeFileSync(join(directory, 'endpoint-ids.json'), text);
  expect(() => openEndpointIds(directory)).toThrow(expect.objectContaining({ code: 'config_invalid' }));
});

it('says so when all numbers of the maps are taken', () => {
  writeFileSync(join(directory, 'endpoint-ids.json'), '{"nextId":4096,"ids":{}}');
  expect(() => openEndpointIds(directory).idOf('x')).toThrow(
    expect.objectContaining({ code: 'no_capacity' }),
  );
});
