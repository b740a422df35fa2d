/** `restitch demo`: real connections of unmodified clients are moved between real servers, and every byte is checked. */
import { Option } from 'commander';
import type { Command } from 'commander';
import { createProcessEnv, exitCodes } from '@restitch/console';
import type { CliEnv } from '@restitch/console';
import { ClientFleet } from '../lab/client-fleet.js';
import type { ClientReport } from '../load/clients/driver-messages.js';
import type { Lab } from '../lab/lab.js';
import { LabAdmin, clientKey } from '../lab/lab-admin.js';
import { createClients } from '../lab/lab-move.js';
import { matchSessions } from '../lab/move-load.js';
import { createMoveReport, isClean } from '../lab/move-report.js';
import type { MoveReport } from '../lab/move-report.js';
import { parseRatio } from '../lab/parse-option.js';
import { createRandom } from '../load/seeded-random.js';
import { withLab } from '../lab/with-lab.js';
import { protectedPorts } from '../lab/lab-plan.js';
import { summariseCrash } from './crash-act.js';
import type { CrashSummary } from './crash-act.js';
import { demoActs } from './demo-acts.js';
import { DemoStage } from './demo-stage.js';
import { createDemoView, formatBytes } from './demo-view.js';
import type { DemoView } from './demo-view.js';
import { formatForecast, playForecast } from './forecast-act.js';
import type { ForecastSummary } from './forecast-act.js';
import { startDownload, startUpload } from './http-clients.js';
import type { TransferResult } from './http-clients.js';

/** Options of `demo`. */
export interface DemoOptions {
  readonly json?: boolean;
  readonly seed?: number;
  /** Scales how long the acts take; 1 is the show, less is for tests. */
  readonly pace?: number;
}

/** The object `demo --json` prints. */
export interface DemoReport extends MoveReport {
  readonly transfers: readonly TransferResult[];
  /** The act in which a server was killed under its clients; these are among the sessions above. */
  readonly crash?: CrashSummary;
  /** The act in which load rises; absent until it was played. */
  readonly forecast?: ForecastSummary;
  readonly seconds: number;
  readonly isRight: boolean;
}

const lineClients = 40;
/** Long enough to be moved in every act, short enough to end with them. */
const transfer = { downloadPerSec: 4_000_000, uploadPerSec: 2_000_000, seconds: 18 };

/** Mounts `demo`. */
export function registerDemoCommands(program: Command, env: () => CliEnv = createProcessEnv): void {
  program
    .command('demo')
    .description('moves live sessions between servers on this machine, and proves that no client noticed')
    .option('--json', 'one JSON object on standard output')
    .addOption(new Option('--pace <ratio>', 'scales the length of the acts').argParser(parseRatio).hideHelp())
    .action(async (options: DemoOptions) => {
      process.exitCode = await runDemo(env(), options);
    });
}

/** Plays all acts in a laboratory of its own; 0 only if no client noticed anything. */
export async function runDemo(env: CliEnv, options: DemoOptions): Promise<number> {
  const view = createDemoView(env, options.json === true);
  const startedMs = performance.now();
  const network = { endpoints: 3, ipv6: false, rttMs: 0, lossRatio: 0, isProtected: true };
  const shown = await withLab(env, network, (lab) => play(lab, view, options, startedMs));
  const forecast = await playForecast(env, view, options.pace ?? 1);
  const took = Math.round(performance.now() - startedMs) / 1000;
  const report: DemoReport = {
    ...shown,
    forecast,
    seconds: took,
    isRight: shown.isRight && forecast.lost === 0,
  };
  env.out(options.json === true ? `${JSON.stringify(report)}\n` : formatSummary(report));
  return report.isRight ? exitCodes.ok : exitCodes.failed;
}

async function play(lab: Lab, view: DemoView, options: DemoOptions, startedMs: number): Promise<DemoReport> {
  const fleet = await ClientFleet.start(lab);
  const admin = await LabAdmin.open(lab.plan);
  const { pace = 1, seed = 1 } = options;
  const stage = new DemoStage({ lab, fleet, admin, view, pace, random: createRandom(seed) });
  try {
    const specs = createClients(lab, { sessions: lineClients, rate: 200, payload: 64 });
    const opened = await fleet.open(specs.map((spec) => ({ ...spec, port: protectedPorts.echoNone })));
    await matchSessions(admin, opened);
    const { downloadPerSec, uploadPerSec, seconds } = transfer;
    const bytesOf = (perSec: number): number => Math.round(perSec * seconds * pace);
    stage.transfers.push(startDownload(lab, bytesOf(downloadPerSec), downloadPerSec));
    stage.transfers.push(await startUpload(lab, bytesOf(uploadPerSec), uploadPerSec));
    for (const act of demoActs) {
      view.act(act.title);
      await stage.showWhile(act.play(stage));
    }
    view.act('Curtain  The transfers end, and everything is compared');
    const transfers = await stage.showWhile(Promise.all(stage.transfers.map((t) => t.result)));
    view.close();
    const clients = await fleet.finish();
    await stage.collectMoves();
    const { records, refused } = stage;
    const report = createMoveReport({ records, refused, clients, serverRtos: 0, rttMs: 0 });
    const crash = stage.crash === undefined ? undefined : summariseCrash(stage.crash, clients);
    const isRight = isClean(report) && transfers.every((t) => t.isRight) && (crash?.lost ?? 0) === 0;
    if (!isRight) await tellStories(stage, clients);
    const tookMs = performance.now() - startedMs;
    return {
      ...report,
      ...(crash === undefined ? {} : { crash }),
      transfers,
      seconds: Math.round(tookMs) / 1000,
      isRight,
    };
  } finally {
    admin.close();
  }
}

/** For each client that noticed something: what it saw, and every move of its session. */
async function tellStories(stage: DemoStage, clients: readonly ClientReport[]): Promise<void> {
  for (const client of clients) {
    if (client.trouble === undefined) continue;
    stage.view.note(`client ${client.tag}: ${client.trouble}`);
    const key = clientKey(client.localAddress, client.localPort);
    for (const { seq, source, target, outcome, failure, steps } of stage.records.filter(
      (r) => clientKey(r.flow.client.address, r.flow.client.port) === key,
    )) {
      const why = failure === undefined ? '' : ` at ${failure.step}: ${failure.message}`;
      stage.view.note(`  move ${seq} ${source} to ${target}: ${outcome}${why}; ${JSON.stringify(steps)}`);
    }
  }
}

function formatSummary(report: DemoReport): string {
  const { moves, bytes, gapMs, moveMs, crash } = report;
  const checked = bytes.received + report.transfers.reduce((sum, t) => sum + t.bytes, 0);
  const lines = [
    '',
    `sessions   ${report.sessions} line clients, ${report.transfers.length} HTTP transfers`,
    `moves      ${moves.committed} committed, ${moves.reverted} reverted, ${moves.failed} failed`,
    `bytes      ${formatBytes(checked)} checked: ${bytes.lost} lost, ${bytes.duplicated} doubled, ${bytes.mismatched} wrong`,
    ...report.transfers.map(
      (t) =>
        `${t.name.padEnd(10)} ${formatBytes(t.bytes)}, SHA-256 ${t.isRight ? 'right' : `WRONG: ${t.trouble ?? ''}`}`,
    ),
    `clients    ${report.clientResets} resets, ${report.clientRtos} retransmission timeouts`,
    `gap        p50 ${gapMs.p50} ms, p99 ${gapMs.p99} ms, max ${gapMs.max} ms (sessions that were not moved: p99 ${report.unmovedGapMs.p99} ms)`,
    ...(crash === undefined
      ? []
      : [
          `crash      ${crash.taken} of ${crash.sessions} sessions taken over, ${crash.lost} lost; ` +
            `noticed after ${crash.detectMs} ms, pause p50 ${crash.pauseMs.p50} ms, max ${crash.pauseMs.max} ms`,
        ]),
    `move       p50 ${moveMs.p50} ms, p99 ${moveMs.p99} ms from hold to switch`,
    ...(report.forecast === undefined ? [] : [formatForecast(report.forecast)]),
    report.isRight ? 'No client noticed anything.' : 'A CLIENT NOTICED. Its story stands above.',
    '',
  ];
  return lines.join('\n');
}
