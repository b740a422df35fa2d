/** The queue's own decisions, with a device and a control program that are played; the kernel's are tested elsewhere. */
import { describe, expect, it } from 'vitest';
import type { Clock } from '@restitch/core';
import type { Tap } from '@restitch/sys/internal';
import type { Command, CommandOutcome } from './control.js';
import { createHoldQueue } from './hold-queue.js';
import type { HoldQueue } from './hold-queue.js';
import { flowStates } from './layout.js';

const key = new Uint8Array(36);
const vnetHeaderBytes = 10;

function frame(tag: number, text: string): Buffer {
  const out = Buffer.alloc(vnetHeaderBytes + 14 + text.length);
  out.writeUInt32BE(tag, vnetHeaderBytes + 2);
  out.write(text, vnetHeaderBytes + 14);
  return out;
}

interface Stage {
  readonly queue: HoldQueue;
  /** Frames that wait in the device. */
  readonly device: Buffer[];
  readonly written: string[];
  readonly ran: string[];
  /** What `settle` finds in the record. */
  record: { state: number; outstanding: number };
  nowMs: number;
  tick(): void;
}

function createStage(): Stage {
  const device: Buffer[] = [];
  const written: string[] = [];
  const ran: string[] = [];
  const timers: (() => void)[] = [];
  const clock: Clock = {
    wallMs: () => 0,
    monotonicMs: () => stage.nowMs,
    monotonicNs: () => BigInt(Math.round(stage.nowMs * 1e6)),
    after: (_, fn) => {
      timers.push(fn);
      return () => void timers.splice(timers.indexOf(fn), 1);
    },
  };
  const tap: Tap = {
    name: 'played',
    interfaceIndex: 1,
    read: (memory) => device.shift()?.copy(memory) ?? 0,
    write: (memory, bytes) => written.push(memory.toString('latin1', vnetHeaderBytes + 14, bytes)) > 0,
    close: () => undefined,
  };
  const run = (commands: readonly Command[]): CommandOutcome[] =>
    commands.map((command) => {
      ran.push(command.op);
      const { state, outstanding } = stage.record;
      const isDone = command.op !== 'settle' || outstanding === 0 || state === flowStates.active;
      return outcome(isDone ? flowStates.active : state, outstanding, isDone ? 'ok' : 'phase');
    });
  const queue = createHoldQueue({ tap, clock, control: { run, close: () => undefined } });
  const stage: Stage = {
    queue,
    device,
    written,
    ran,
    record: { state: flowStates.active, outstanding: 0 },
    nowMs: 1000,
    tick() {
      stage.nowMs += 3;
      for (const fn of timers.splice(0)) fn();
    },
  };
  return stage;
}

function outcome(
  state: number,
  outstanding: number,
  result: CommandOutcome['result'] = 'ok',
): CommandOutcome {
  return { result, holdTag: 7, word: { state, outstanding, owner: 1, epoch: 0 } };
}

const hold = (deadlineMs: number): Command => {
  return { op: 'hold', flow: key, epoch: 0, holdTag: 7, deadlineNs: BigInt(deadlineMs) * 1_000_000n };
};
const release: Command = { op: 'release', flow: key, epoch: 0, deadlineNs: 0n };

describe('hold queue', () => {
  it('writes a released flow back in order: what it had drained, then what waits in the device', () => {
    const stage = createStage();
    stage.queue.settle([hold(2000)], [outcome(flowStates.hold, 0)]);
    stage.device.push(frame(7, 'one'), frame(7, 'two'));
    stage.tick();
    expect(stage.written).toEqual([]);
    stage.device.push(frame(7, 'three'));
    stage.queue.settle([release], [outcome(flowStates.releasing, 3)]);
    expect(stage.written).toEqual(['one', 'two', 'three']);
    expect(stage.queue.size).toBe(0);
  });

  it('keeps other flows while it delivers one', () => {
    const stage = createStage();
    const other: CommandOutcome = { ...outcome(flowStates.hold, 0), holdTag: 8 };
    stage.queue.settle([hold(2000), hold(2000)], [outcome(flowStates.hold, 0), other]);
    stage.device.push(frame(8, 'stays'), frame(7, 'goes'));
    stage.queue.settle([release], [outcome(flowStates.releasing, 1)]);
    expect(stage.written).toEqual(['goes']);
    expect(stage.queue.size).toBe(1);
  });

  it('sends frames of an expired hold back, and those of flows it does not know', () => {
    const stage = createStage();
    stage.queue.settle([hold(1010)], [outcome(flowStates.hold, 0)]);
    stage.device.push(frame(7, 'late'), frame(99, 'foreign'));
    stage.tick();
    expect(stage.written).toEqual(['foreign']);
    for (let i = 0; i < 4; i++) stage.tick();
    expect(stage.written).toEqual(['foreign', 'late']);
    expect(stage.queue.size).toBe(0);
  });

  it('looks on until nothing has come for a while, then closes the accounts once', () => {
    const stage = createStage();
    stage.queue.settle([hold(1010)], [outcome(flowStates.hold, 0)]);
    for (let i = 0; i < 100; i++) stage.tick();
    expect(stage.ran.filter((op) => op === 'reset-held')).toHaveLength(1);
  });

  it('keeps the frames of a flow that is held again before its release has settled', () => {
    const stage = createStage();
    stage.queue.settle([hold(2000)], [outcome(flowStates.hold, 0)]);
    stage.record = { state: flowStates.releasing, outstanding: 1 };
    stage.queue.settle([release], [outcome(flowStates.releasing, 1)]);
    expect(stage.queue.size).toBe(1);
    stage.queue.settle([hold(2000)], [outcome(flowStates.hold, 1)]);
    stage.device.push(frame(7, 'kept'));
    stage.tick();
    expect(stage.written).toEqual([]);
  });

  it('forgets frames that died on the way once a release has run out', () => {
    const stage = createStage();
    stage.queue.settle([hold(2000)], [outcome(flowStates.hold, 0)]);
    stage.record = { state: flowStates.active, outstanding: 2 };
    stage.queue.settle([release], [outcome(flowStates.releasing, 2)]);
    expect(stage.ran).toContain('forget');
    expect(stage.queue.size).toBe(0);
  });
});
