/** The numbers and names that C and TypeScript both write down. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  commandOps,
  commandResults,
  flowStates,
  mapNames,
  maglevSize,
  maxCommands,
  maxEndpoints,
  maxServices,
  verdictNames,
} from './layout.js';

const source = (name: string): string =>
  readFileSync(new URL(`../../../bpf/steering/${name}`, import.meta.url), 'utf8');
const consts = source('consts.h');

function enumBody(name: string): string {
  return new RegExp(`enum ${name} \\{([^}]*)\\}`).exec(consts)?.[1] ?? '';
}

const define = (name: string): number => Number(new RegExp(`#define ${name} (\\d+)`).exec(consts)?.[1]);
const numbered = (name: string, prefix: string): Record<string, number> =>
  Object.fromEntries(
    [...enumBody(name).matchAll(new RegExp(`${prefix}_(\\w+) = (\\d+)`, 'g'))].map(([, key, value]) => [
      (key ?? '').toLowerCase().replaceAll('_', '-'),
      Number(value),
    ]),
  );

describe('layout', () => {
  it('names the verdicts of consts.h in their order', () => {
    const names = [...enumBody('verdict').matchAll(/VERDICT_(\w+)/g)].map(([, name]) => name?.toLowerCase());
    expect([...verdictNames, 'count']).toEqual(names);
  });

  it('numbers states, commands and results as consts.h', () => {
    expect(flowStates).toEqual(numbered('flow_state', 'STATE'));
    expect(commandOps).toEqual(numbered('command_op', 'OP'));
    const results = Object.entries(numbered('command_result', 'RESULT')).sort(([, a], [, b]) => a - b);
    expect(results.map(([name]) => name)).toEqual([...commandResults]);
  });

  it('repeats the sizes of consts.h', () => {
    expect({ maglevSize, maxServices, maxEndpoints, maxCommands }).toEqual({
      maglevSize: define('MAGLEV_SIZE'),
      maxServices: define('MAX_SERVICES'),
      maxEndpoints: define('MAX_ENDPOINTS'),
      maxCommands: define('MAX_COMMANDS'),
    });
  });

  it('knows every map of maps.h', () => {
    const names = [...source('maps.h').matchAll(/\} (\w+) SEC\("\.maps"\)/g)].map(([, name]) => name);
    expect([...mapNames].sort()).toEqual(names.sort());
  });
});
