import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type ConnectionDeath, connectionLife, type ConnectionParty } from './connection-life.js';

const page = readFileSync(new URL('../../../docs/connection-life.md', import.meta.url), 'utf8');

const parties: readonly ConnectionParty[] = [
  'record',
  'session',
  'descriptor',
  'guard entry',
  'replica',
  'drain',
];
const deaths: readonly ConnectionDeath[] = ['process', 'host', 'stop', 'agent', 'buddy', 'daemon'];

/** Rows of the page's two tables, as they must stand there. */
const holds = connectionLife.map((row) => {
  const held = parties.map((party) => row.holds[party] ?? '–');
  return `| **${row.phase}** | ${row.tcp.join(', ')} | ${row.until} | ${held.join(' | ')} |`;
});
const fates = connectionLife.flatMap((row) =>
  deaths.flatMap((death) => {
    const fate = row.onDeath[death];
    return fate === undefined ? [] : [`| ${row.phase} | ${death} | ${fate.commit} | ${fate.below} |`];
  }),
);

/** Rows of the table below a header that begins so. */
function tableBelow(header: string): string[] {
  const lines = page.split('\n');
  const from = lines.findIndex((line) => line.startsWith(header)) + 2;
  const to = lines.findIndex((line, i) => i >= from && !line.startsWith('|'));
  return lines.slice(from, to);
}

describe('the life of a connection', () => {
  it('stands in docs/connection-life.md as in the data: who holds what, and until when', () => {
    expect(tableBelow('| phase | kernel |')).toEqual(holds);
  });

  it('stands in docs/connection-life.md as in the data: what becomes of it when somebody dies', () => {
    expect(tableBelow('| phase | who dies |')).toEqual(fates);
  });

  it('names every phase once, and what becomes of each that is not over', () => {
    const phases = connectionLife.map((row) => row.phase);
    expect(new Set(phases).size).toBe(phases.length);
    for (const { phase, onDeath } of connectionLife.slice(0, -1)) {
      for (const death of ['process', 'host', 'stop', 'daemon'] as const)
        expect(onDeath[death], `${phase}, ${death}`).toBeDefined();
    }
  });
});
