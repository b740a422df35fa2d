/** `restitch lab chaos`: random moves, drains, reverts, kills, cuts and stalls under load, and what must hold all the same. */
import { setTimeout as sleep } from 'node:timers/promises';
import { toRestitchError } from '@restitch/core';
import { exitCodes } from '@restitch/console';
import type { CliEnv } from '@restitch/console';
import { ClientFleet } from '../client-fleet.js';
import type { ClientReport } from '../../load/clients/driver-messages.js';
import type { Lab } from '../lab.js';
import { LabAdmin } from '../lab-admin.js';
import { sumBytes } from '../move-report.js';
import type { ByteCounts } from '../move-report.js';
import { findRareKinds, formatKinds, sumKinds } from '../../load/lives/kinds-report.js';
import { lifeKinds } from '../../load/lives/life-kinds.js';
import type { LifeKind } from '../../load/lives/life-kinds.js';
import type { KindsReport, LifeFinding } from '../../load/lives/kinds-report.js';
import { createRandom, pickOne } from '../../load/seeded-random.js';
import { withLab } from '../with-lab.js';
import { ChaosBed } from './chaos-bed.js';
import { faultKinds, faultWeights, faults } from './chaos-faults.js';
import type { FaultKind } from './chaos-faults.js';
import { checkAtRest, findGhosts, invariants } from './chaos-invariants.js';
import type { InvariantName, Violation } from './chaos-invariants.js';
import { ChaosLives } from './chaos-lives.js';
import type { ChaosLivesReport } from './chaos-lives.js';
import { findLeftovers } from './leftovers.js';
import { describeConnections, keepEvidence } from '../crash-evidence.js';

/** Options of `lab chaos`. */
export interface LabChaosOptions {
  readonly steps: number;
  readonly seed: number;
  readonly sessions: number;
  readonly endpoints: number;
  /** Of phase clients; all if left out. */
  readonly kinds?: readonly LifeKind[];
  readonly json?: boolean;
}

/** The object `lab chaos --json` prints. */
interface ChaosReport {
  readonly seed: number;
  readonly steps: number;
  /** Steps by kind. */
  readonly faults: Readonly<Record<FaultKind, number>>;
  /** How often each invariant was found to hold, and to be broken. */
  readonly invariants: Readonly<Record<InvariantName, { readonly held: number; readonly broken: number }>>;
  readonly violations: readonly Violation[];
  readonly bytes: ByteCounts;
  /** Of these none was wrong: `bereaved` says how many were at level none on an endpoint that died. */
  readonly clientResets: number;
  readonly bereaved: number;
  /** What became of endpoints that died: `taken` sessions at level commit, `lost` ones at level none. */
  readonly takeOvers: { readonly deaths: number; readonly taken: number; readonly lost: number };
  readonly moves: Readonly<Record<string, number>>;
  /** Phase clients, kind by kind; `inPhase` counts at deaths. */
  readonly kinds: KindsReport;
  readonly earlyEofs: number;
  /** Kinds hardly in their phase at deaths; told, and failing, only of a run of full size. */
  readonly rareKinds: readonly string[];
}

/** Steps of a run whose counts are a proof. */
const fullSteps = 2000;
/** Phase clients for each client that only talks. */
const livesPerSession = 1.5;
const drainMs = 25_000;

/** Every kind comes at least once in so many steps. */
const stepsPerEachKind = 200;
const checkEverySteps = 10;

/** Runs chaos in a laboratory of its own; 0 only without a violation. */
export async function runLabChaos(env: CliEnv, options: LabChaosOptions): Promise<number> {
  const progress = (text: string): void => env.err(`${text}\n`);
  const { endpoints } = options;
  const run = new ChaosRun(options);
  let leave = (): string[] => [];
  const clients = await withLab(
    env,
    { endpoints, ipv6: false, rttMs: 0, lossRatio: 0, isProtected: true },
    async (lab) => {
      leave = () => findLeftovers(lab.plan, lab.state.endpoints);
      return await runSteps(lab, run, { progress, signal: env.signal });
    },
  );
  run.note('nothingLeft', leave());
  run.noteClients(clients);
  const report = run.report(clients);
  env.out(options.json === true ? `${JSON.stringify(report)}\n` : formatChaos(report));
  return report.violations.length + report.rareKinds.length === 0 ? exitCodes.ok : exitCodes.failed;
}

/** The order of steps that a seed gives: weighted at random, each kind at least once in two hundred. */
export function planSteps(steps: number, random: () => number): FaultKind[] {
  const total = faultKinds.reduce((sum, kind) => sum + faultWeights[kind], 0);
  const plan = Array.from({ length: steps }, () => {
    let at = random() * total;
    return faultKinds.find((kind) => (at -= faultWeights[kind]) < 0) ?? 'move';
  });
  for (let from = 0; from < steps; from += stepsPerEachKind) {
    const end = Math.min(steps, from + stepsPerEachKind);
    for (const kind of faultKinds) {
      const window = plan.slice(from, end);
      if (window.includes(kind)) continue;
      // Only a step whose kind comes again in this window may give way.
      const spare = window.flatMap((k, i) => (window.indexOf(k) !== window.lastIndexOf(k) ? [from + i] : []));
      const at = pickOne(random, spare);
      if (at !== undefined) plan[at] = kind;
    }
  }
  return plan;
}

/** Counts of one run. */
class ChaosRun {
  readonly options: LabChaosOptions;
  readonly violations: Violation[] = [];
  readonly faults = Object.fromEntries(faultKinds.map((kind) => [kind, 0])) as Record<FaultKind, number>;
  moves: Readonly<Record<string, number>> = {};
  takeOvers = { deaths: 0, taken: 0, lost: 0 };
  bereaved: ReadonlyMap<string, number> = new Map();
  lives: ChaosLivesReport = { kinds: {}, findings: [] };
  step = 0;
  readonly #checks = Object.fromEntries(
    Object.keys(invariants).map((name) => [name, { held: 0, broken: 0 }]),
  ) as Record<InvariantName, { held: number; broken: number }>;

  constructor(options: LabChaosOptions) {
    this.options = options;
  }

  /** Notes one look at an invariant. */
  note(invariant: InvariantName, broken: readonly string[]): void {
    this.#checks[invariant][broken.length === 0 ? 'held' : 'broken']++;
    for (const what of broken) this.violations.push({ step: this.step, invariant, what });
  }

  /** What clients said at the end is the last word on bytes, resets and hangs. */
  noteClients(clients: readonly ClientReport[]): void {
    const stories = (isBad: (c: ClientReport) => boolean): string[] =>
      clients.filter(isBad).map((c) => `${c.tag}: ${c.trouble ?? 'bad bytes'}`);
    const isBereaved = (c: ClientReport): boolean => this.bereaved.has(c.tag);
    this.note(
      'byteExact',
      stories((c) => c.mismatchedBytes + c.duplicatedBytes + (isBereaved(c) ? 0 : c.lostBytes) > 0),
    );
    this.note(
      'noReset',
      stories((c) => c.resets > 0 && !isBereaved(c)),
    );
  }

  /** What phase clients said at the end. */
  noteLives(lives: ChaosLivesReport): void {
    this.lives = lives;
    const whatOf = (...faults: ReadonlyArray<LifeFinding['fault']>): string[] =>
      lives.findings.filter((f) => faults.includes(f.fault)).map((f) => f.what);
    this.note('byteExact', whatOf('bytes'));
    this.note('noEarlyEof', whatOf('early-eof'));
    this.note('noReset', whatOf('reset', 'refused'));
    this.note('noHang', whatOf('stuck', 'silent'));
  }

  report(clients: readonly ClientReport[]): ChaosReport {
    const { kinds } = this.lives;
    const cutShort = clients.filter((c) => c.brokenBy === 'end' && !this.bereaved.has(c.tag)).length;
    return {
      seed: this.options.seed,
      steps: this.step,
      faults: this.faults,
      invariants: this.#checks,
      violations: this.violations,
      bytes: sumBytes(clients),
      clientResets: clients.reduce((sum, c) => sum + c.resets, 0),
      bereaved: this.bereaved.size,
      takeOvers: this.takeOvers,
      moves: this.moves,
      kinds,
      earlyEofs: cutShort + sumKinds(kinds, (k) => k.earlyEofs),
      rareKinds: this.step >= fullSteps ? findRareKinds(kinds) : [],
    };
  }
}

async function runSteps(
  lab: Lab,
  run: ChaosRun,
  io: { readonly progress: (text: string) => void; readonly signal: AbortSignal },
): Promise<readonly ClientReport[]> {
  const random = createRandom(run.options.seed);
  const plan = planSteps(run.options.steps, random);
  const fleet = await ClientFleet.start(lab);
  const admin = await LabAdmin.open(lab.plan);
  const { seed, sessions, kinds = lifeKinds } = run.options;
  const lives = await ChaosLives.start(lab, { count: Math.round(sessions * livesPerSession), kinds, seed });
  const bed = new ChaosBed({ lab, fleet, lives, admin, random });
  run.bereaved = bed.bereaved;
  run.takeOvers = bed.deaths;
  try {
    const unprotected = Math.floor(run.options.sessions / 2);
    await bed.open('none', unprotected);
    await bed.open('commit', run.options.sessions - unprotected);
    for (const kind of plan) {
      if (io.signal.aborted || run.violations.length > 0) break;
      run.step++;
      run.faults[kind]++;
      await performStep(bed, run, kind);
      if (run.step % checkEverySteps === 0) await check(bed, run);
      if (run.step % 50 === 0) io.progress(`step ${run.step} of ${plan.length}`);
    }
    await sleep(500);
    await check(bed, run);
    if (run.violations.length > 0) io.progress(await keepChaosEvidence(bed, 'when a check failed'));
    run.moves = bed.outcomes;
    run.noteLives(await lives.finish(drainMs));
    const clients = await fleet.finish();
    const ghosts = await findGhosts(bed);
    run.note('noGhost', ghosts);
    if (run.violations.length > 0) io.progress(await keepChaosEvidence(bed, 'when all clients had left'));
    return clients;
  } catch (error) {
    io.progress(await keepChaosEvidence(bed, 'when the run broke off'));
    throw error;
  } finally {
    bed.close();
    await lives.close();
    await fleet.close();
  }
}

/** Writes down what there is to see of a run that failed, as the laboratory goes away; a line that says where. */
async function keepChaosEvidence(bed: ChaosBed, when: string): Promise<string> {
  const sessions = await bed.admin.sessions().catch(() => []);
  const stories = await Promise.all(
    sessions.map((s) => bed.admin.story(s.id).then(JSON.stringify, (error: unknown) => String(error))),
  );
  const rows = sessions.map((session, i) => `${JSON.stringify(session)}\n${stories[i]}`);
  const more = ['=== sessions', ...rows, describeConnections(bed.lab)].join('\n');
  return `logs, sockets and maps ${when}: ${keepEvidence(bed.lab, more, `-${when.replaceAll(' ', '-')}`)}`;
}

async function performStep(bed: ChaosBed, run: ChaosRun, kind: FaultKind): Promise<void> {
  try {
    await bed.noteOwners();
    await faults[kind](bed);
    await bed.noteSilentDeaths();
  } catch (error) {
    // A step that cannot be done is a hang of the system under test, never something to pass over.
    run.note('noHang', [`${kind}: ${toRestitchError(error).message}`]);
  }
}

async function check(bed: ChaosBed, run: ChaosRun): Promise<void> {
  try {
    await bed.settle();
    await bed.awaitReplicas();
    const found = await checkAtRest(bed);
    for (const name of ['oneOwner', 'noOrphan', 'byteExact', 'noReset', 'noHang'] as const) {
      run.note(
        name,
        found.filter((v) => v.invariant === name).map((v) => v.what),
      );
    }
  } catch (error) {
    run.note('noHang', [toRestitchError(error).message]);
  }
}

function formatChaos(report: ChaosReport): string {
  const lines = [
    `seed         ${report.seed}`,
    `steps        ${report.steps}: ${Object.entries(report.faults)
      .map(([kind, n]) => `${kind} ${n}`)
      .join(', ')}`,
    ...Object.entries(report.invariants).map(
      ([name, { held, broken }]) => `${name.padEnd(12)} held ${held}, broken ${broken}`,
    ),
    `bytes        ${report.bytes.received} checked`,
    `deaths       ${report.takeOvers.deaths}: ${report.takeOvers.taken} sessions taken over, ${report.bereaved} at level none ended`,
    ...formatKinds(report.kinds),
    ...report.rareKinds.map((what) => `RARE         ${what}`),
    ...report.violations.map((v) => `VIOLATION    step ${v.step} ${v.invariant}: ${v.what}`),
  ];
  return `${lines.join('\n')}\n`;
}
