/** What a command may do in which phase, as a table, and the fencing by epochs, in the kernel. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Flow } from '@restitch/core';
import { lookupElement, updateElement } from '@restitch/sys/internal';
import type { FlowPhase } from './contract.js';
import { createControlProgram } from './control.js';
import type { Command, CommandOutcome, ControlProgram } from './control.js';
import { commandOps, flowStates, gaugesLayout, maxCommands, settingsLayout } from './layout.js';
import { loadPinned, removePins } from './pins.js';
import type { LoadedPrograms } from './pins.js';
import { useBpfDirectory } from '../../../test/bpf-directory.js';

const pinDirectory = `${useBpfDirectory()}/pins`;
const maxFlows = 2000;
let loaded: LoadedPrograms;
let control: ControlProgram;
let nextPort = 1000;

beforeAll(() => {
  loaded = loadPinned(pinDirectory, { maxFlows, maxHalfOpen: 10 });
  control = createControlProgram(loaded.control.value, loaded.maps.command_map.value);
  const settings = Buffer.alloc(settingsLayout.sizeBytes);
  settings.writeUInt32LE(maxFlows, settingsLayout.maxFlows);
  updateElement(loaded.maps.settings_map.value, Buffer.alloc(4), settings);
});

afterAll(() => {
  control?.close();
  for (const fd of [...Object.values(loaded.maps), loaded.steer, loaded.reenter, loaded.control]) fd.close();
  removePins(pinDirectory);
});

const soon = (): bigint => process.hrtime.bigint() + 60_000_000_000n;
const past = 1n;

function newFlow(): Flow {
  const port = ++nextPort;
  return { client: { address: '10.0.0.1', port }, vip: { address: '10.0.0.2', port: 7000 } };
}

function one(command: Command): CommandOutcome {
  const [outcome] = control.run([command]);
  if (outcome === undefined) throw new Error('no outcome');
  return outcome;
}

/** A flow of endpoint 1 in epoch 5, brought into a phase the way a move does. */
function flowIn(phase: FlowPhase, deadlineNs = soon()): Flow {
  const flow = newFlow();
  const steps: Record<FlowPhase, Command[]> = {
    active: [],
    hold: [{ op: 'hold', flow, epoch: 5, deadlineNs, holdTag: 7 }],
    frozen: [{ op: 'freeze', flow, epoch: 5, deadlineNs, holdTag: 7 }],
    // Needs a packet on the way: steering.test.ts has it.
    releasing: [],
    closing: [{ op: 'close', flow, epoch: 5, deadlineNs }],
  };
  const all = control.run([{ op: 'claim', flow, epoch: 5, endpointId: 1 }, ...steps[phase]]);
  expect(all.map((outcome) => outcome.result)).not.toContain('phase');
  return flow;
}

const flowCount = (): number => {
  const value = Buffer.alloc(gaugesLayout.sizeBytes);
  lookupElement(loaded.maps.gauges_map.value, Buffer.alloc(4), value);
  return Number(value.readBigUInt64LE(gaugesLayout.flows));
};

const phases = ['active', 'hold', 'frozen', 'closing'] as const;
const ops = ['hold', 'freeze', 'switch', 'release', 'close', 'remove', 'settle', 'expire'] as const;
type Op = (typeof ops)[number];

/** The phase afterwards; `-` refused, `gone` removed. */
const table: Record<Op, Record<(typeof phases)[number], FlowPhase | '-' | 'gone'>> = {
  hold: { active: 'hold', hold: 'hold', frozen: '-', closing: '-' },
  freeze: { active: 'frozen', hold: 'frozen', frozen: 'frozen', closing: '-' },
  switch: { active: '-', hold: 'hold', frozen: 'frozen', closing: '-' },
  release: { active: 'active', hold: 'active', frozen: 'active', closing: '-' },
  close: { active: 'closing', hold: 'closing', frozen: 'closing', closing: 'closing' },
  remove: { active: 'gone', hold: 'gone', frozen: 'gone', closing: 'gone' },
  settle: { active: 'active', hold: '-', frozen: '-', closing: '-' },
  expire: { active: '-', hold: '-', frozen: '-', closing: '-' },
};

const rows = ops.flatMap((op) => phases.map((phase) => ({ op, phase, expected: table[op][phase] })));

describe('commands by phase', () => {
  it.each(rows)('$op in $phase: $expected', ({ op, phase, expected }) => {
    const flow = flowIn(phase);
    const outcome = one({ op, flow, epoch: 5, newEpoch: 6, endpointId: 2, deadlineNs: soon(), holdTag: 8 });
    expect(outcome.result).toBe(expected === '-' ? 'phase' : 'ok');
    // An epoch nobody has: reads the record without touching it.
    const seen = one({ op: 'settle', flow, epoch: 0xffffff });
    if (expected === 'gone') expect(seen.result).toBe('absent');
    else expect(seen.word.state).toBe(flowStates[expected === '-' ? phase : expected]);
    if (op === 'switch' && expected !== '-') expect(seen.word).toMatchObject({ owner: 2, epoch: 6 });
  });

  it.each(ops)('%s with an old epoch is refused and changes nothing', (op) => {
    const flow = flowIn('hold');
    expect(one({ op, flow, epoch: 4, newEpoch: 6, endpointId: 2, deadlineNs: soon() }).result).toBe('stale');
    const { word } = one({ op: 'settle', flow, epoch: 0xffffff });
    expect(word).toEqual({ state: flowStates.hold, outstanding: 0, owner: 1, epoch: 5 });
  });

  it.each(ops)('%s on an unknown flow says absent', (op) => {
    expect(one({ op, flow: newFlow(), epoch: 0 }).result).toBe('absent');
  });

  it('keeps the first hold tag of a flow', () => {
    const flow = flowIn('hold');
    expect(one({ op: 'freeze', flow, epoch: 5, deadlineNs: soon(), holdTag: 99 }).holdTag).toBe(7);
  });

  it('does not switch to an epoch that is not higher', () => {
    const flow = flowIn('frozen');
    expect(one({ op: 'switch', flow, epoch: 5, newEpoch: 5, endpointId: 2 }).result).toBe('stale');
  });

  it('expires a closing flow only after its deadline', () => {
    const flow = flowIn('closing', past);
    expect(one({ op: 'expire', flow, epoch: 5 }).result).toBe('ok');
    expect(one({ op: 'expire', flow, epoch: 5 }).result).toBe('absent');
  });
});

describe('claim', () => {
  const claims: { what: string; phase: FlowPhase; epoch: number; endpointId: number; expected: string }[] = [
    { what: 'its owner again', phase: 'active', epoch: 5, endpointId: 1, expected: 'ok' },
    { what: 'another endpoint, same epoch', phase: 'active', epoch: 5, endpointId: 2, expected: 'stale' },
    { what: 'another endpoint, older epoch', phase: 'active', epoch: 4, endpointId: 2, expected: 'stale' },
    { what: 'its owner, older epoch', phase: 'active', epoch: 4, endpointId: 1, expected: 'stale' },
    { what: 'another endpoint, higher epoch', phase: 'active', epoch: 6, endpointId: 2, expected: 'ok' },
    { what: "the owner's next session", phase: 'closing', epoch: 0, endpointId: 1, expected: 'ok' },
    {
      what: 'another endpoint on a closing one',
      phase: 'closing',
      epoch: 0,
      endpointId: 2,
      expected: 'stale',
    },
  ];
  it.each(claims)('by $what in $phase: $expected', ({ phase, epoch, endpointId, expected }) => {
    const flow = flowIn(phase);
    const outcome = one({ op: 'claim', flow, epoch, endpointId });
    expect(outcome.result).toBe(expected);
    expect(outcome.word).toMatchObject(
      expected === 'ok' ? { owner: endpointId, epoch } : { owner: 1, epoch: 5 },
    );
  });

  it('does not disturb a move when the owner announces again', () => {
    const flow = flowIn('hold');
    expect(one({ op: 'claim', flow, epoch: 5, endpointId: 1 }).word.state).toBe(flowStates.hold);
  });

  it('refuses when the table is full and keeps what is there', () => {
    const before = flowCount();
    const commands = Array.from({ length: maxFlows - before + 3 }, (): Command => {
      return { op: 'claim', flow: newFlow(), epoch: 0, endpointId: 1 };
    });
    expect(commands.length).toBeGreaterThan(maxCommands);
    const results = control.run(commands).map((outcome) => outcome.result);
    expect(results.filter((result) => result === 'full')).toHaveLength(3);
    expect(flowCount()).toBe(maxFlows);
    const removed = control.run(commands.slice(0, 500).map(({ flow }) => ({ op: 'remove', flow, epoch: 0 })));
    expect(removed.every((outcome) => outcome.result === 'ok')).toBe(true);
    expect(flowCount()).toBe(maxFlows - 500);
  });
});

it('knows every command', () => {
  expect(Object.keys(commandOps)).toEqual(expect.arrayContaining(['claim', ...ops, 'forget', 'reset-held']));
});
