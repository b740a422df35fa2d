/** Commands to the control program: written into the mapped command map, run in batches, results read back in place. */
import { RestitchError, encodeFlowKey, flowKeyBytes } from '@restitch/core';
import type { Flow } from '@restitch/core';
import type { MappedMap } from '@restitch/sys/internal';
import { openMappedMap, testRun } from '@restitch/sys/internal';
import type { FlowChangeResult } from './contract.js';
import { commandLayout, commandOps, commandResults, decodeWord, maxCommands } from './layout.js';
import type { RecordWord } from './layout.js';

/** One command; what an op does not use is left out. */
export interface Command {
  readonly op: keyof typeof commandOps;
  /** Encoded, or as text. */
  readonly flow: Flow | Uint8Array;
  readonly epoch: number;
  readonly newEpoch?: number;
  readonly endpointId?: number;
  readonly holdTag?: number;
  readonly deadlineNs?: bigint;
}

/** What became of a command, and the record's word and hold tag afterwards. */
export interface CommandOutcome {
  readonly result: FlowChangeResult;
  readonly word: RecordWord;
  readonly holdTag: number;
}

/** Runs commands in the kernel. */
export interface ControlProgram {
  run(commands: readonly Command[]): CommandOutcome[];
  close(): void;
}

/** The control program over its command map. */
export function createControlProgram(programFd: number, commandMapFd: number): ControlProgram {
  const mapped: MappedMap = openMappedMap(commandMapFd, maxCommands * commandLayout.sizeBytes);
  const context = Buffer.alloc(8);
  const runChunk = (commands: readonly Command[]): CommandOutcome[] => {
    const { memory } = mapped;
    commands.forEach((command, i) => encodeCommand(command, memory, i * commandLayout.sizeBytes));
    context.writeUInt32LE(commands.length, 0);
    const { retval } = testRun(programFd, { context });
    if (retval !== 0)
      throw new RestitchError(
        'internal',
        `control program answered ${retval} to ${commands.length} commands`,
      );
    return commands.map((_, i) => decodeOutcome(memory, i * commandLayout.sizeBytes));
  };
  return {
    run(commands) {
      if (commands.length <= maxCommands) return runChunk(commands);
      const outcomes: CommandOutcome[] = [];
      for (let i = 0; i < commands.length; i += maxCommands)
        outcomes.push(...runChunk(commands.slice(i, i + maxCommands)));
      return outcomes;
    },
    close: () => mapped.close(),
  };
}

/** Writes a command as the control program reads it. */
export function encodeCommand(command: Command, out: Buffer, at: number): void {
  const keyAt = at + commandLayout.flow;
  if (command.flow instanceof Uint8Array) out.set(command.flow.subarray(0, flowKeyBytes), keyAt);
  else encodeFlowKey(command.flow, out, keyAt);
  out.writeUInt32LE(commandOps[command.op], at + commandLayout.op);
  out.writeUInt32LE(command.epoch, at + commandLayout.epoch);
  out.writeUInt32LE(command.newEpoch ?? 0, at + commandLayout.newEpoch);
  out.writeUInt32LE(command.endpointId ?? 0, at + commandLayout.endpoint);
  out.writeUInt32LE(command.holdTag ?? 0, at + commandLayout.holdTag);
  out.writeBigUInt64LE(command.deadlineNs ?? 0n, at + commandLayout.deadlineNs);
}

/** What the control program wrote into a command. */
export function decodeOutcome(memory: Buffer, at: number): CommandOutcome {
  const number = memory.readUInt32LE(at + commandLayout.result);
  const result = commandResults[number];
  if (result === undefined) throw new RestitchError('internal', `control program's result ${number}`);
  return {
    result,
    word: decodeWord(memory, at + commandLayout.word),
    holdTag: memory.readUInt32LE(at + commandLayout.holdTag),
  };
}
