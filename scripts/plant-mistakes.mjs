/**
 * Plants mistakes in copies of this checkout, one at a time, and demands that what CI runs finds each within a minute.
 *
 * usage: node scripts/plant-mistakes.mjs [--quick] [WORD]
 *   WORD      only mistakes whose name has it
 *   --quick   not those that need endpoint processes to be found, as CI runs it
 * Exit code 1 if one was not found.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const root = new URL('..', import.meta.url).pathname;
const limitMs = 60_000;

/** What of CI is enough here: the whole of it would find no less. */
const check = ['node', 'scripts/generate-layouts.mjs', '--check'];
const generate = ['node', 'scripts/generate-layouts.mjs'];
const layoutTests = vitest(
  'packages/dataplane/src/layout.test.ts',
  'packages/guard/src/kernel/layout.test.ts',
  'packages/wire/src/codec/fields.test.ts',
);
const isStale = { finder: check, says: 'run node scripts/generate-layouts.mjs' };
const isPinned = { finder: generate, says: 'raise LAYOUT_VERSION' };
const contractTests = ['sh', '-c', `scripts/build-bpf.sh && ${vitest('test/integration/dataplane/contract.test.ts').join(' ')}`];
const isBroken = { finder: contractTests, says: 'AssertionError' };
const isUntimely = { finder: vitest('test/doubles/clock.test.ts'), says: 'AssertionError' };
const build = 'node_modules/.bin/tsc -b';
/** The first failure is enough, and a promise that is not kept is waited for. */
const endpointContract = (what) =>
  `exec ${vitest('--bail=1', '--testTimeout=10000', 'test/integration/endpoint/contract.test.ts', '-t', `'${what}'`).join(' ')}`;
const isUnlikeSdk = { isSlow: true, finder: ['sh', '-c', endpointContract('in memory')], says: 'FAIL' };
const isUnlikeFake = (where) => ({ isSlow: true, finder: ['sh', '-c', `${build} && ${endpointContract(`the SDK ${where}`)}`], says: 'FAIL' });
const isUnlikeAccessPoint = (where) => ({ isSlow: true,
  finder: vitest('--bail=1', '--testTimeout=10000', 'test/integration/endpoint/access-point-contract.test.ts', '-t', where),
  says: 'FAIL',
});
const fakeAccessPoint = 'test/integration/endpoint/fake-access-point.ts';
const lifeCycle = 'packages/access-point/src/model/life-cycle.ts';
const fakeEndpoint = 'packages/access-point/src/testing/fake-endpoint.ts';
const sourceMoves = 'packages/endpoint/src/move/source-moves.ts';
const targetMoves = 'packages/endpoint/src/move/target-moves.ts';
const virtualClock = 'packages/access-point/src/testing/virtual-clock.ts';
const fakeDataplane = 'packages/access-point/src/testing/fake-dataplane.ts';
const isMisread = { finder: layoutTests, says: 'AssertionError' };
const dataplaneLayout = 'packages/dataplane/src/layout.generated.ts';
const guardLayout = 'packages/guard/src/kernel/layout.generated.ts';

/** `edits`: file, what stands there, what is to stand there. `finder` must fail, and say so in these words. */
const mistakes = [
  {
    name: 'C changed without generating: a number',
    edits: [['bpf/steering/consts.h', 'OP_RESET_HELD = 11', 'OP_RESET_HELD = 12']],
    ...isStale,
  },
  {
    name: 'C changed without generating: a field moved',
    edits: [['bpf/guard/maps.h', '	__u32 fin_seq;\n	__u32 birth;', '	__u32 birth;\n	__u32 fin_seq;']],
    finder: check,
    says: 'raise LAYOUT_VERSION',
  },
  {
    name: 'generated file edited by hand: an offset',
    edits: [[dataplaneLayout, 'deadlineNs: 8', 'deadlineNs: 16']],
    ...isStale,
  },
  {
    name: 'generated file edited by hand: two guardVerdicts swapped',
    edits: [[guardLayout, "  'dropFin',\n  'dropRst',", "  'dropRst',\n  'dropFin',"]],
    ...isStale,
  },
  {
    name: 'generated file edited by hand: maxLeases 1024 → 4096',
    edits: [[guardLayout, 'maxLeases: 1024', 'maxLeases: 4096']],
    ...isStale,
  },
  {
    name: 'generated file edited by hand: epochs of 16 bits',
    edits: [[dataplaneLayout, 'epoch: { at: 0, bits: 24 }', 'epoch: { at: 0, bits: 16 }']],
    ...isStale,
  },
  {
    name: 'pinned without a new version: a struct',
    edits: [['bpf/steering/maps.h', '	__u64 packets;\n	__u64 bytes;\n	__u32 flags;', '	__u64 bytes;\n	__u64 packets;\n	__u32 flags;']],
    ...isPinned,
  },
  {
    name: 'pinned without a new version: two guardVerdicts swapped',
    edits: [
      ['bpf/guard/consts.h', '	VERDICT_DROP_FIN, ', '	VERDICT_DROP_RST, '],
      ['bpf/guard/consts.h', '	VERDICT_DROP_RST,       /* RST', '	VERDICT_DROP_FIN,       /* RST'],
    ],
    ...isPinned,
  },
  {
    name: 'pinned without a new version: maxLeases 1024 → 4096',
    edits: [['bpf/guard/consts.h', 'MAX_LEASES = 1024', 'MAX_LEASES = 4096']],
    ...isPinned,
  },
  {
    name: 'pinned without a new version: epochs of 16 bits',
    edits: [['bpf/steering/consts.h', '#define EPOCH_BITS 24', '#define EPOCH_BITS 16']],
    ...isPinned,
  },
  {
    name: 'pinned without a new version: the size of a map',
    edits: [['bpf/guard/witness.h', '(max_entries, 16384)', '(max_entries, 1024)']],
    ...isPinned,
  },
  {
    name: 'an enum of more than 32 bits',
    edits: [['bpf/steering/consts.h', 'MAX_COMMANDS = 256,', 'MAX_COMMANDS = 256, WIDE = 0x1ffffffffULL,']],
    finder: generate,
    says: 'clang 14 cuts',
  },
  {
    name: 'an enum that nobody generates',
    edits: [
      ['bpf/guard/layouts.bpf.c', 'enum guard_op of_op;', 'enum guard_op of_op;\nenum fresh { FRESH = 1 } of_fresh;'],
    ],
    finder: generate,
    says: 'enum fresh is not in',
  },
  {
    name: 'an offset used wrongly: another field of a record',
    edits: [['packages/dataplane/src/records.ts', 'lastSeenNs: values.readBigUInt64LE(at + flowValueLayout.lastSeenNs)', 'lastSeenNs: values.readBigUInt64LE(at + flowValueLayout.deadlineNs)']],
    ...isMisread,
  },
  {
    name: 'an offset used wrongly: another width',
    edits: [['packages/guard/src/kernel/layout.ts', 'windowScale: value.readUInt8(', 'windowScale: value.readUInt16LE(']],
    ...isMisread,
  },
  {
    name: 'an offset used wrongly: another field of a command',
    edits: [['packages/guard/src/kernel/layout.ts', 'put(command.finSeq ?? 0, guardCommandLayout.finSeq)', 'put(command.finSeq ?? 0, guardCommandLayout.birth)']],
    ...isMisread,
  },
  {
    name: 'an offset used wrongly: another setting',
    edits: [['packages/dataplane/src/settings.ts', 'holdFrames, settingsLayout.holdFrames', 'holdFrames, settingsLayout.holdFlowBytes']],
    ...isMisread,
  },
  {
    name: 'an offset used wrongly: what a witness has seen',
    edits: [['packages/guard/src/kernel/witness.ts', 'witnessLayout.contradicting', 'witnessLayout.agreeing']],
    ...isMisread,
  },
  {
    name: 'an offset used wrongly: a shift of the word',
    edits: [['packages/dataplane/src/layout.ts', '(high >>> 8) & 0xffff', '(high >>> 8) & 0xfff']],
    ...isMisread,
  },
  {
    name: 'maxEpoch of 16 bits',
    edits: [['packages/dataplane/src/layout.ts', '2 ** recordWordLayout.epoch.bits - 1', '0xffff']],
    ...isMisread,
  },
  {
    name: 'messages with epochs of 16 bits',
    edits: [['packages/wire/src/codec/fields.ts', '.max(0xffffff)', '.max(0xffff)']],
    ...isMisread,
  },
  {
    name: 'the fake data plane never releases slowly',
    edits: [[fakeDataplane, 'if (entry.outstanding === 0) {', 'if (entry.outstanding >= 0) {']],
    ...isBroken,
  },
  {
    name: 'the fake data plane releases for 500 ms',
    edits: [[fakeDataplane, 'releaseLimitNs = 50_000_000n', 'releaseLimitNs = 500_000_000n']],
    ...isBroken,
  },
  {
    name: 'the fake data plane freezes what is being released',
    edits: [[fakeDataplane, "if (entry.phase === 'releasing' || entry.phase === 'closing') return 'phase';", "if (entry.phase === 'closing') return 'phase';"]],
    ...isBroken,
  },
  {
    name: 'the fake data plane lets an owner claim an older epoch',
    edits: [[fakeDataplane, "if (entry.epoch >= epoch) return 'stale';", "if (entry.epoch > epoch) return 'stale';"]],
    ...isBroken,
  },
  {
    name: 'the fake data plane forgets no closed flow',
    edits: [[fakeDataplane, 'if (this.#clock.monotonicNs() >= entry.deadlineNs) this.#delete(key);\n', 'if (this.#clock.monotonicNs() < 0n) this.#delete(key);\n']],
    ...isBroken,
  },
  {
    name: 'the programs hold what is being released',
    edits: [['bpf/steering/control.bpf.c', 'state == STATE_ACTIVE || state == STATE_HOLD ? STATE_HOLD : 0', 'state == STATE_ACTIVE || state == STATE_RELEASING || state == STATE_HOLD ? STATE_HOLD : 0']],
    ...isBroken,
  },
  {
    name: 'the programs release at once whatever is under way',
    edits: [['bpf/steering/control.bpf.c', 'state == STATE_ACTIVE || outstanding == 0 ? STATE_ACTIVE', 'state == STATE_ACTIVE || outstanding < 9 ? STATE_ACTIVE']],
    ...isBroken,
  },
  {
    name: 'the programs let anybody claim a closing flow',
    edits: [['bpf/steering/control.bpf.c', 'word_state(word) == STATE_CLOSING && is_same_owner', 'word_state(word) == STATE_CLOSING']],
    ...isBroken,
  },
  {
    name: 'the programs switch to the same epoch',
    edits: [['bpf/steering/control.bpf.c', 'command->new_epoch <= command->epoch', 'command->new_epoch < command->epoch']],
    ...isBroken,
  },
  {
    name: 'the programs deliver what is frozen once its time is up',
    edits: [['bpf/steering/hold.h', 'if (state == STATE_FROZEN)\n\t\treturn DECIDE_DROP;', 'if (state == STATE_FROZEN)\n\t\treturn DECIDE_OWNER;']],
    ...isBroken,
  },
  {
    name: 'the data plane gives a release 500 ms',
    edits: [['packages/dataplane/src/open-dataplane.ts', 'releaseLimitNs = 50_000_000n', 'releaseLimitNs = 500_000_000n']],
    ...isBroken,
  },
  {
    name: 'the virtual clock runs timers of one time in any order',
    edits: [[virtualClock, '|| a[0] - b[0]', '|| b[0] - a[0]']],
    ...isUntimely,
  },
  {
    name: 'the virtual clock runs timers before who set them has gone on',
    edits: [[virtualClock, '    await settleMicrotasks();\n    for', '    for']],
    ...isUntimely,
  },
  {
    name: 'the machine’s clock runs a timer of a month at once',
    edits: [['packages/core/src/clock.ts', 'leftMs <= maxTimerMs', 'leftMs > 0']],
    ...isUntimely,
  },
  {
    name: 'the fake endpoint freezes what is frozen',
    edits: [[fakeEndpoint, 'if (move?.phase !== \'prepared\' || copy === undefined)', 'if (move === undefined || copy === undefined)']],
    ...isUnlikeSdk,
  },
  {
    name: 'the fake endpoint keeps a prepared move over a lost connection',
    edits: [[fakeEndpoint, 'if (move.phase === \'prepared\') this.moves', 'if (move.phase !== \'prepared\') this.moves']],
    ...isUnlikeSdk,
  },
  {
    name: 'the fake endpoint forgets under which epoch a session left',
    edits: [[fakeEndpoint, '    this.#knownEpochs.set(move.sessionId, move.epoch);\n', '']],
    ...isUnlikeSdk,
  },
  {
    name: 'the fake endpoint resets what is frozen',
    edits: [[fakeEndpoint, 'if (copy?.phase !== \'live\') return false;\n    this.copies', 'if (copy === undefined) return false;\n    this.copies']],
    ...isUnlikeSdk,
  },
  {
    name: 'the fake endpoint announces what is pending under the old epoch',
    edits: [[fakeEndpoint, 'return { id, flow, epoch, phase: \'pending\'', 'return { id, flow, epoch: epoch - 1, phase: \'pending\'']],
    ...isUnlikeSdk,
  },
  {
    name: 'the fake endpoint releases what is only prepared',
    edits: [[fakeEndpoint, 'if (move?.phase !== \'frozen\') throw', 'if (move === undefined) throw']],
    ...isUnlikeSdk,
  },
  {
    name: 'the SDK keeps a prepared move over a lost connection',
    edits: [[sourceMoves, 'if (move.phase !== \'frozen\') this.#forget(move);\n  }\n\n  /** The session', 'if (move.phase === \'freezing\') this.#forget(move);\n  }\n\n  /** The session']],
    ...isUnlikeFake('a connection'),
  },
  {
    name: 'the SDK refuses a repeated release',
    edits: [[sourceMoves, 'if (this.#finished.get(request.moveId) === \'released\') return {};', 'if (this.#finished.get(request.moveId) === \'ended\') return {};']],
    ...isUnlikeFake('release'),
  },
  {
    name: 'the SDK announces what is frozen as live',
    edits: [[sourceMoves, 'phase: \'frozen\', moveId: move.moveId };', 'phase: \'live\', moveId: move.moveId };']],
    ...isUnlikeFake('a connection'),
  },
  {
    name: 'the SDK activates under any epoch',
    edits: [[targetMoves, '    if (epoch !== reservation.epoch) throw stale(reservation.sessionId, epoch, reservation.epoch);\n    const', '    const']],
    ...isUnlikeFake('activate'),
  },
  {
    name: 'the SDK announces what is pending under the old epoch',
    edits: [[targetMoves, '      epoch: reservation.epoch,\n      phase', '      epoch: reservation.epoch - 1,\n      phase']],
    ...isUnlikeFake('a connection'),
  },
  {
    name: 'the SDK takes an image of another connection than the reserved one',
    edits: [[targetMoves, '    image.listener !== listenerName ||\n    formatFlow(image.flow) !== formatFlow(flow)\n', '    image.listener !== listenerName ||\n    formatFlow(image.flow) === `${formatFlow(flow)}?`\n']],
    ...isUnlikeFake('freeze'),
  },
  {
    name: 'the SDK forgets under which epoch a session left',
    edits: [['packages/endpoint/src/session-table.ts', 'this.#leftEpochs.set(session.id, epoch);', 'this.#leftEpochs.set(session.id, epoch - 1);']],
    ...isUnlikeFake('reserve'),
  },
  {
    name: 'the scripted access point lets an endpoint say hello twice',
    edits: [[fakeAccessPoint, 'if ((message.t === \'hello\') !== (this.hello === undefined))', 'if (message.t !== \'hello\' && this.hello === undefined)']],
    ...isUnlikeAccessPoint('the scripted one a greeting'),
  },
  {
    name: 'the scripted access point activates before the target has spoken',
    edits: [[fakeAccessPoint, '      await Promise.race([thawed(target, moveId), isLost]);\n', '']],
    ...isUnlikeAccessPoint('the scripted one a move'),
  },
  {
    name: 'the scripted access point releases before the client has spoken',
    edits: [[fakeAccessPoint, '    await target.event(\'confirmed\', moveId);\n', '']],
    ...isUnlikeAccessPoint('the scripted one a move'),
  },
  {
    name: 'the scripted access point grants a lease of another number',
    edits: [[fakeAccessPoint, 'n: message.n, leaseMs', 'n: message.n + 1, leaseMs']],
    ...isUnlikeAccessPoint('the scripted one crash protection'),
  },
  {
    name: 'the scripted access point reserves for another epoch',
    edits: [[fakeAccessPoint, '      epoch,\n      source: source.name', '      epoch: epoch + 1,\n      source: source.name']],
    ...isUnlikeAccessPoint('the scripted one a move'),
  },
  {
    name: 'the daemon switches before the target has spoken',
    edits: [[lifeCycle, 'frozen: go(\'frozen\', \'mark-frozen\'),', 'frozen: go(\'switching\', \'mark-frozen\', \'switch\'),']],
    ...isUnlikeAccessPoint('the daemon a move'),
  },
  {
    name: 'the daemon releases before the client has spoken',
    edits: [[lifeCycle, 'activated: go(\'confirming\', \'release-hold\'),\n      confirmed: go(\'releasing\', \'release-hold\', \'send-release\'),\n      \'target-refused\'', 'activated: go(\'releasing\', \'release-hold\', \'send-release\'),\n      confirmed: go(\'releasing\', \'release-hold\', \'send-release\'),\n      \'target-refused\'']],
    ...isUnlikeAccessPoint('the daemon a move'),
  },
  {
    name: 'the daemon does not abort what it reverts',
    edits: [[lifeCycle, 'const undo = go(\'reverting\', \'send-abort\', \'send-revert\');', 'const undo = go(\'reverting\', \'send-revert\');']],
    ...isUnlikeAccessPoint('the daemon a move'),
  },
  {
    name: 'the daemon skips an epoch',
    edits: [['packages/access-point/src/moves/move.ts', 'this.epoch = session.lastEpoch + 1;', 'this.epoch = session.lastEpoch + 2;']],
    ...isUnlikeAccessPoint('the daemon a move'),
  },
  {
    name: 'the daemon lets an endpoint say hello twice',
    edits: [['packages/access-point/src/control/control-plane.ts', 'if (known !== undefined) throw', 'if (known === null) throw']],
    ...isUnlikeAccessPoint('the daemon a greeting'),
  },
];

const words = process.argv.slice(2).filter((word) => word !== '--quick');
const isQuick = process.argv.includes('--quick');
const chosen = mistakes.filter(({ name, isSlow }) => name.includes(words[0] ?? '') && !(isQuick && isSlow));
if (chosen.length === 0) {
  console.error(`plant-mistakes: no mistake has "${words[0]}"`);
  process.exit(2);
}
const copy = makeCopy();
try {
  for (const finder of new Set(chosen.map((mistake) => mistake.finder))) {
    const { isFailed, output } = run(finder);
    if (isFailed) throw new Error(`${finder.join(' ')} fails without a mistake:\n${output}`);
  }
  let survived = 0;
  for (const mistake of chosen) if (!isFound(mistake)) survived++;
  console.log(`${chosen.length - survived} of ${chosen.length} planted mistakes found`);
  process.exitCode = survived > 0 ? 1 : 0;
} finally {
  rmSync(copy, { recursive: true });
}

function vitest(...files) {
  return ['node_modules/.bin/vitest', 'run', '--reporter=dot', ...files];
}

function isFound({ name, edits, finder, says }) {
  const before = new Map();
  for (const [file, from, to] of edits) {
    const text = readFileSync(join(copy, file), 'utf8');
    if (text.split(from).length !== 2) throw new Error(`${name}: ${file} has "${from}" ${text.split(from).length - 1} times`);
    if (!before.has(file)) before.set(file, text);
    writeFileSync(join(copy, file), text.replace(from, () => to));
  }
  const startMs = performance.now();
  const { isFailed, output } = run(finder);
  const seconds = (performance.now() - startMs) / 1000;
  for (const [file, text] of before) writeFileSync(join(copy, file), text);
  const isGood = isFailed && output.includes(says) && seconds * 1000 < limitMs;
  console.log(`${isGood ? 'found   ' : 'SURVIVED'} ${seconds.toFixed(1).padStart(5)} s  ${name}`);
  if (isFailed && !isGood) console.log(output);
  return isGood;
}

function run([command, ...args]) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: copy, encoding: 'utf8', timeout: limitMs });
  return { isFailed: status !== 0, output: stdout + stderr };
}

/** What git knows and does not ignore, the objects as they are built, and the modules of here, our packages those of the copy. */
function makeCopy() {
  const target = mkdtempSync(join(tmpdir(), 'restitch-planted-'));
  const list = (...args) => spawnSync('git', ['ls-files', '-z', ...args], { cwd: root, encoding: 'utf8' }).stdout.split('\0');
  for (const file of [...list(), ...list('--others', '--exclude-standard')]) {
    if (file === '' || file.startsWith('docs/') || !existsSync(join(root, file))) continue;
    mkdirSync(dirname(join(target, file)), { recursive: true });
    cpSync(join(root, file), join(target, file));
  }
  for (const room of ['dataplane', 'guard'])
    cpSync(join(root, 'packages', room, 'build'), join(target, 'packages', room, 'build'), { recursive: true });
  const modules = join(root, 'node_modules');
  mkdirSync(join(target, 'node_modules'));
  for (const name of spawnSync('ls', ['-A', modules], { encoding: 'utf8' }).stdout.split('\n'))
    if (name !== '' && name !== '@restitch') symlinkSync(join(modules, name), join(target, 'node_modules', name));
  cpSync(join(modules, '@restitch'), join(target, 'node_modules', '@restitch'), { recursive: true, verbatimSymlinks: true });
  return target;
}
