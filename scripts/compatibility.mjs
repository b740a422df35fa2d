/**
 * Builds the checkout of an older commit in a temporary folder, and shows that its parties and this checkout's work together: in
 * moves, in take-overs after kill -9, and in a rolling restart. This checkout must be built.
 *
 * usage: node scripts/compatibility.mjs [--quick]      --quick: one experiment for each mixture that matters most
 *
 * Exit code 0: no client noticed anything. 1: one did. 77: this clone has no history as far back.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Protocol 1.0: the last commit before parties said their versions on every channel and compared features. */
const commit = '335741f144bdf6642591057d599858bf8d6b4ad6';
const noHistory = 77;
const root = fileURLToPath(new URL('..', import.meta.url));
const isQuick = process.argv.includes('--quick');

/** Which parties are of the older commit; the others are of this one. */
const mixtures = [
  { name: 'an old daemon, new endpoints', parties: ['access-point'], isMain: true },
  { name: 'a new daemon, old endpoints', parties: ['a', 'b', 'c', 'd', 'agent-a', 'agent-b', 'agent-c', 'agent-d'], isMain: true },
  { name: 'a new daemon, old and new endpoints', parties: ['a', 'agent-a', 'c', 'agent-c'], isMain: false },
  { name: 'an old daemon, old and new endpoints', parties: ['access-point', 'b', 'agent-b'], isMain: false },
  { name: 'endpoints newer than their agents', parties: ['agent-a', 'agent-b', 'agent-c', 'agent-d'], isMain: false },
];
const moves = ['move', '--sessions', '6', '--moves', '20', '--moves-per-sec', '20', '--warm-up-moves', '5'];
const crashes = ['crash', '--sessions', '6', '--kills', isQuick ? '1' : '2', '--level', 'commit'];
const rolling = ['rolling', '--by', 'drain', '--endpoints', '4', '--sessions', '8', '--rounds', '1'];

const git = (...args) => spawnSync('git', ['-C', root, ...args], { maxBuffer: 1 << 30 });

if (git('cat-file', '-e', `${commit}^{commit}`).status !== 0) {
  console.error(`compatibility: skipped, this clone has no commit ${commit}; git fetch --unshallow brings it`);
  process.exit(noHistory);
}
const directory = mkdtempSync(join(tmpdir(), 'restitch-compatibility-'));
let faults = 0;
try {
  build();
  for (const mixture of mixtures.filter(({ isMain }) => isMain || !isQuick)) {
    run(mixture, moves, isMoved);
    run(mixture, crashes, isTakenOver);
    if (!isQuick) run(mixture, rolling, isRolled);
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
console.error(`compatibility with ${commit.slice(0, 7)}: ${faults} faults`);
process.exitCode = faults > 0 ? 1 : 0;

/** The older commit's sources and programs, upon the third-party packages of this checkout: it is messages that are compared. */
function build() {
  const archive = git('archive', commit);
  must(archive, 'git archive');
  must(spawnSync('tar', ['x', '-C', directory], { input: archive.stdout }), 'tar');
  const modules = join(directory, 'node_modules');
  mkdirSync(join(modules, '@restitch'), { recursive: true });
  for (const name of readdirSync(join(root, 'node_modules')))
    if (name !== '@restitch') symlinkSync(join(root, 'node_modules', name), join(modules, name));
  for (const name of readdirSync(join(directory, 'packages')))
    symlinkSync(join(directory, 'packages', name), join(modules, '@restitch', name));
  must(spawnSync(join(directory, 'scripts', 'build.sh'), { encoding: 'utf8' }), 'the build of the older commit');
}

function must({ status, stdout, stderr, error }, what) {
  if (status === 0) return;
  throw new Error(`${what} failed: ${error ?? ''}${String(stderr).slice(-2000)}${String(stdout).slice(-2000)}`);
}

function run({ name, parties }, args, isGood) {
  const restitch = join(root, 'packages/cli/bin/restitch.js');
  const env = { ...process.env, RESTITCH_LAB_MIX: `${directory}=${parties.join(',')}` };
  const { stdout, stderr } = spawnSync(process.execPath, [restitch, 'lab', ...args, '--json'], { env, encoding: 'utf8' });
  const report = parse(stdout);
  // The laboratory says whom it starts from elsewhere; had it started nobody so, all this would show nothing.
  const old = parties.filter((party) => stderr.includes(`${party} runs ${directory}/`));
  const isMixed = old.length >= Math.min(2, parties.length);
  const isFine = isMixed && report !== undefined && isUnnoticed(report) && isGood(report);
  if (!isFine) faults++;
  console.log(JSON.stringify({ mixture: name, experiment: args[0], isFine, old, ...figures(report) }));
  if (!isFine) console.error(stdout.slice(-3000), stderr.slice(-3000));
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isUnnoticed({ clientResets, bytes, stories }) {
  return clientResets === 0 && bytes.lost + bytes.duplicated + bytes.mismatched === 0 && stories.length === 0;
}

function isMoved({ moves: { committed } }) {
  return committed > 0;
}

function isTakenOver({ taken, lost }) {
  return taken > 0 && lost === 0;
}

function isRolled({ moved, lost, taken, replicasLeft }) {
  return moved > 0 && lost + taken + replicasLeft === 0;
}

function figures(report) {
  const { moves: ended, taken, lost, moved } = report ?? {};
  return { ...(ended === undefined ? {} : { moves: ended }), taken, lost, moved };
}
