/**
 * A host in the eyes of its processes: a mount namespace in which the BPF file system is covered, not mounted or shut, and
 * a network namespace. Nothing it mounts or names is seen outside, and all of it goes with it.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { RunResult } from './run-restitch.js';

const script = fileURLToPath(new URL('../../scripts/with-private-mounts.sh', import.meta.url));
const program = fileURLToPath(new URL('../../packages/cli/bin/restitch.js', import.meta.url));

/** A start is to be killed in the middle of its steps, each of which takes some 10 ms. */
const pollMs = 2;

/** What /sys/fs/bpf is there; see scripts/with-private-mounts.sh. */
export type HostBpfState = 'covered' | 'unmounted' | 'shut';

/** A program that runs in there. */
export interface HostProgram {
  readonly child: ChildProcess;
  readonly ended: Promise<RunResult>;
  /** Resolves when standard output or error has this text; rejects with all of it when the program ends before. */
  said(text: string): Promise<void>;
}

/** Such a host; `close` ends it. */
export class PrivateHost {
  readonly #holder: ChildProcess;

  private constructor(holder: ChildProcess) {
    this.#holder = holder;
  }

  static async open(state: HostBpfState): Promise<PrivateHost> {
    const hold = 'ip link set lo up && echo ready && exec sleep infinity';
    const args = ['--net', script, state, 'sh', '-c', hold];
    const holder = spawn('unshare', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(holder, 'exit').then(([code]) => {
      throw new Error(`a host that is ${state}: exit ${code}`);
    });
    await Promise.race([once(holder.stdout as NodeJS.ReadableStream, 'data'), ended]);
    ended.catch(() => undefined);
    return new PrivateHost(holder);
  }

  /** Runs a command to its end. */
  run(...command: readonly string[]): Promise<RunResult> {
    return this.start(...command).ended;
  }

  /** Runs `restitch` to its end. */
  restitch(...args: readonly string[]): Promise<RunResult> {
    return this.run(process.execPath, program, ...args);
  }

  /** Starts `restitch`; `prefix` is a command that runs it. */
  startRestitch(args: readonly string[], prefix: readonly string[] = []): HostProgram {
    return this.start(...prefix, process.execPath, program, ...args);
  }

  start(...command: readonly string[]): HostProgram {
    const args = ['--target', String(this.#holder.pid), '--mount', '--net', '--', ...command];
    const child = spawn('nsenter', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const result = { out: '', err: '' };
    child.stdout.on('data', (bytes: Buffer) => (result.out += bytes.toString()));
    child.stderr.on('data', (bytes: Buffer) => (result.err += bytes.toString()));
    const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, ...result }));
    const said = async (text: string): Promise<void> => {
      for (;;) {
        if (`${result.out}${result.err}`.includes(text)) return;
        if (child.exitCode !== null || child.signalCode !== null) {
          const end = await ended;
          if (`${end.out}${end.err}`.includes(text)) return;
          throw new Error(JSON.stringify(end));
        }
        await sleep(pollMs);
      }
    };
    return { child, ended, said };
  }

  /** Where BPF file systems are mounted. */
  async bpfMounts(): Promise<string[]> {
    const { out } = await this.run('cat', '/proc/mounts');
    const lines = out.split('\n').filter((line) => line.split(' ')[2] === 'bpf');
    return lines.map((line) => line.split(' ')[1] ?? '');
  }

  /** Takes it down; laboratories in it must be down. */
  async close(): Promise<void> {
    this.#holder.kill('SIGKILL');
    if (this.#holder.exitCode === null && this.#holder.signalCode === null) await once(this.#holder, 'exit');
  }
}
