/** Boots another kernel in qemu and runs this checkout there: scripts/vm/run.sh, for tests. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const script = (name: string): string => fileURLToPath(new URL(`../../scripts/vm/${name}`, import.meta.url));

/** 25 s of a processor of its own; a machine that others use too takes longer. */
export const bootLimitSeconds = 480;

/** What the job printed. Rejects with the last lines of script and console if it did not come that far. */
export async function runInKernel(line: string, job: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'restitch-vm-'));
  try {
    await run(script('run.sh'), [line, script(job), directory, String(bootLimitSeconds)], {
      env: { ...process.env, ...env },
    }).catch(async (error: { stderr?: string; code?: number }) => {
      const console = await readFile(join(directory, 'console'), 'latin1').catch(() => '');
      const last = `${error.stderr ?? ''}\n${console}`.trim().split(/\r?\n/).slice(-12).join('\n');
      throw new Error(`Linux ${line}: run.sh ended with ${error.code ?? '?'}:\n${last}`);
    });
    return await readFile(join(directory, 'output'), 'utf8');
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
