/**
 * `npm run vm -- 6.1 [6.12 …] [--json] [--keep] [--only WORDS]`: boots Debian's kernels in qemu and does in each what
 * restitch is for, in a laboratory of namespaces inside: loads every program, moves sessions, kills an endpoint at level
 * commit, drains endpoints one after another. Judged by outcome; how long it took says nothing about a machine that is
 * emulated. Exit codes: 0 all passed, 1 something failed, 2 usage or a machine that cannot be booted.
 *
 * Beside CI: some eight minutes of a core for each kernel. Each experiment has a machine of its own, as many at once as
 * there are cores.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { experiments } from './experiments.mjs';

/** A machine whose cores others use too needs patience. */
const limitSeconds = 1800;
const runScript = new URL('run.sh', import.meta.url).pathname;

const machines = new Set();

/** Boots a machine for one experiment. */
async function run(kernel, { name, args, isGood, tell }) {
  const directory = mkdtempSync(join(tmpdir(), 'restitch-vm-'));
  const job = join(directory, 'job.sh');
  writeFileSync(job, `node packages/cli/bin/restitch.js ${args.join(' ')}\n`);
  const { code, error } = await new Promise((resolve) => {
    const child = execFile(runScript, [kernel, job, directory, String(limitSeconds)], (failure, _out, err) => {
      machines.delete(child);
      resolve({ code: failure === null ? 0 : failure.code, error: err });
    });
    machines.add(child);
  });
  const console = read(join(directory, 'console'));
  const isBooted = console.includes(' is up after ');
  const report = parse(read(join(directory, 'output')));
  const isPassed = code === 0 && / the job ended with 0 /.test(console) && report !== undefined && isGood(report);
  const told = report === undefined ? lastLine(isBooted ? console : error || console) : tell(report);
  if (isPassed && !keep) rmSync(directory, { recursive: true });
  return { kernel, name, isBooted, isPassed, told, report, ...(isPassed && !keep ? {} : { directory }) };
}

function read(file) {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Of what is told about a machine that gave no report: what the job or the script said last. */
function lastLine(text) {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '' && !/reboot: Power down|^vm: the job ended/.test(line));
  return lines.at(-1) ?? 'nothing was said';
}

function usage(text) {
  process.stderr.write(`${text}\nusage: npm run vm -- KERNEL… [--json] [--keep] [--only WORDS]   e.g. npm run vm -- 6.1 6.12\n`);
  process.exit(2);
}

let parsed;
try {
  const options = { json: { type: 'boolean' }, keep: { type: 'boolean' }, only: { type: 'string' } };
  parsed = parseArgs({ options, allowPositionals: true });
} catch (error) {
  usage(error.message);
}
const { json = false, keep = false, only = '' } = parsed.values;
const kernels = parsed.positionals;
const chosen = experiments.filter(({ name }) => name.includes(only));
if (kernels.length === 0 || kernels.some((kernel) => !/^\d+\.\d+$/.test(kernel))) usage('which kernels?');
if (chosen.length === 0) usage(`no experiment has "${only}" in its name: ${experiments.map(({ name }) => name).join(', ')}`);

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    for (const machine of machines) machine.kill('SIGTERM');
    process.exit(1);
  });
}

const waiting = kernels.flatMap((kernel) => chosen.map((experiment) => ({ kernel, experiment })));
const results = [];
const worker = async () => {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const result = await run(next.kernel, next.experiment);
    results.push(result);
    const { kernel, name, isPassed, told, directory } = result;
    const kept = directory === undefined ? '' : `\n      see ${directory}/console`;
    process.stderr.write(`${isPassed ? 'PASS' : 'FAIL'}  ${kernel.padEnd(5)} ${name.padEnd(20)} ${told}${kept}\n`);
  }
};
await Promise.all(Array.from({ length: Math.max(1, availableParallelism()) }, worker));

const failed = results.filter(({ isPassed }) => !isPassed).length;
if (json) process.stdout.write(`${JSON.stringify({ ok: failed === 0, results })}\n`);
else process.stdout.write(`${results.length - failed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : results.some(({ isBooted }) => !isBooted) ? 2 : 1;
