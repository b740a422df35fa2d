/** Runs the real `restitch` program, as a user would, and looks for what it left behind. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** How a run ended. */
export interface RunResult {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

const program = fileURLToPath(new URL('../../packages/cli/bin/restitch.js', import.meta.url));
const limitMs = 110_000;

/** A run takes 5 to 40 s on an idle machine; a busy one must not fail it. */
export const e2eTimeoutMs = 120_000;

/** Starts the program; `onProgress` gets what it writes to standard error so far. */
export function startRestitch(
  args: readonly string[],
  onProgress: (err: string, child: ChildProcess) => void = () => undefined,
): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    const timer = setTimeout(() => child.kill('SIGTERM'), limitMs);
    child.stdout.on('data', (bytes: Buffer) => {
      out += bytes.toString();
    });
    child.stderr.on('data', (bytes: Buffer) => {
      err += bytes.toString();
      onProgress(err, child);
    });
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, out, err });
    });
  });
}

/** The laboratory's id, from what the program said first. */
export function labIdOf(err: string): string {
  return /laboratory (\w+): network/.exec(err)?.[1] ?? 'unknown';
}

/** Namespaces, mounts, state and processes of laboratories that this run made and left. */
export function leftoversOf(err: string): string[] {
  const found: string[] = [];
  for (const [, id] of err.matchAll(/laboratory (\w+): network/g)) {
    const namespaces = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' });
    if (namespaces.includes(`restitch-${id}-`)) found.push(`namespaces of ${id}`);
    for (const path of [
      `/run/restitch/lab/${id}`,
      `/run/restitch/lab/${id}.json`,
      `/sys/fs/cgroup/cpu/restitch-lab-${id}-a`,
      `/sys/fs/cgroup/restitch-lab-${id}-a`,
    ]) {
      if (existsSync(path)) found.push(path);
    }
    if (readFileSync('/proc/mounts', 'utf8').includes(`/run/restitch/lab/${id}/`))
      found.push(`mount of ${id}`);
    const processes = execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' });
    if (processes.includes(`/run/restitch/lab/${id}/`)) found.push(`processes of ${id}`);
  }
  return found;
}
