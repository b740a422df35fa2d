/** `restitch lab …`: a network of namespaces with access point, endpoints and a client, on this machine. */
import { spawn } from 'node:child_process';
import { RestitchError } from '@restitch/core';
import { Argument, Option } from 'commander';
import type { Command } from 'commander';
import { createProcessEnv } from '@restitch/console';
import type { CliEnv } from '@restitch/console';
import { runLabChaos } from './chaos/lab-chaos.js';
import type { LabChaosOptions } from './chaos/lab-chaos.js';
import { adminSocketOf } from './lab-config.js';
import { forgeries } from './forge-frames.js';
import { Lab } from './lab.js';
import { endpointDeeds, isProtected, runLabEndpoint } from './lab-endpoint.js';
import type { EndpointDeed, LabEndpointOptions } from './lab-endpoint.js';
import { connectFaults, runLabConnects } from './lab-connects.js';
import type { LabConnectsOptions } from './lab-connects.js';
import { runLabTails } from './lab-tails.js';
import type { LabTailsOptions } from './lab-tails.js';
import type { MomentKind } from '../load/lives/life-kinds.js';
import { crashLevels } from './crash-levels.js';
import { crashFaults, runLabCrash } from './lab-crash.js';
import type { LabCrashOptions } from './lab-crash.js';
import { labListeners } from './lab-plan.js';
import type { LabListener } from './lab-plan.js';
import { chooseLabId, isOwned, listLabIds, readLabState } from './lab-state.js';
import { isSameProcess } from './process-identity.js';
import { defaultBulkRate, runLabMove } from './lab-move.js';
import type { LabMoveOptions } from './lab-move.js';
import { runLabRolling } from './lab-rolling.js';
import type { LabRollingOptions } from './lab-rolling.js';
import { openLab } from './open-lab.js';
import { runLabPredict } from './predict/lab-predict.js';
import type { LabPredictOptions } from './predict/lab-predict.js';
import { parseModes, predictModes } from './predict/modes.js';
import { trafficPatterns } from './predict/traffic.js';
import { parseCount, parseLifeKinds, parseMs, parsePayload, parseRatio, parseWhole } from './parse-option.js';

/** Options of `lab up`. */
export interface LabUpOptions {
  readonly endpoints: number;
  readonly rttMs: number;
  readonly loss: number;
  readonly ipv6?: boolean;
  readonly id?: string;
  readonly protected?: boolean;
  readonly json?: boolean;
}

/** Mounts `lab` with its subcommands. */
export function registerLabCommands(program: Command): void {
  const lab = program
    .command('lab')
    .description('a network of namespaces with all parties, on this machine')
    .enablePositionalOptions();
  const env = (): CliEnv => createProcessEnv();
  withLinkOptions(lab.command('up').description('starts a laboratory and keeps it'))
    .addOption(new Option('--id <id>', 'its name, 1 to 8 letters or digits; random if left out'))
    .option(
      '--protected',
      'endpoints have host agents, echo and files are at level commit, more ports at all levels',
    )
    .option('--json', 'one JSON object on standard output')
    .action((options: LabUpOptions) => runLabUp(env(), options));
  lab
    .command('status')
    .description('VIP, ports, parties and processes of a laboratory')
    .option('--lab <id>')
    .option('--json', 'one JSON object on standard output')
    .action((options: { lab?: string; json?: boolean }) => runLabStatus(env(), options));
  lab
    .command('down')
    .description('removes a laboratory with everything it made')
    .option('--lab <id>')
    .option('--all', 'all laboratories on this host that no running command uses')
    .action((options: { lab?: string; all?: boolean }) => runLabDown(env(), options));
  withLinkOptions(lab.command('move').description('moves sessions under load and checks every byte'))
    .addOption(new Option('--sessions <n>', 'client sessions').argParser(parseCount).default(50))
    .addOption(new Option('--moves <n>', 'moves in all').argParser(parseCount).default(1000))
    .addOption(new Option('--payload <bytes>', 'of one request').argParser(parsePayload).default(64))
    .addOption(
      new Option('--rate <n>', 'requests a second of each client').argParser(parseCount).default(200),
    )
    .addOption(new Option('--moves-per-sec <n>', 'moves begun a second').argParser(parseCount).default(50))
    .addOption(
      new Option('--warm-up-moves <n>', 'moves before those that count').argParser(parseWhole).default(300),
    )
    .addOption(new Option('--concurrency <n>', 'moves under way at once').argParser(parseCount).default(8))
    .addOption(new Option('--seed <n>', 'of choices and losses').argParser(parseWhole).default(1))
    .option('--bulk', 'clients upload and download a long stream at once')
    .addOption(
      new Option('--bulk-rate <bytes>', 'a second of each bulk client, each way; 0 as fast as it goes')
        .argParser(parseWhole)
        .default(defaultBulkRate),
    )
    .addOption(
      new Option(
        '--ahead <bytes>',
        'bulk clients are so far ahead of the last acknowledgement known',
      ).argParser(parseCount),
    )
    .addOption(
      new Option(
        '--syn-flood <n>',
        'SYNs from as many addresses, played into the steering program',
      ).argParser(parseCount),
    )
    .addOption(new Option('--level <level>', 'of protection').choices(['none', 'commit']).default('none'))
    .option('--kill-daemon', 'the daemon is killed half-way, under load, and started again')
    .option('--json', 'one JSON object on standard output')
    .action(async (options: LabMoveOptions) => {
      process.exitCode = await runLabMove(env(), options);
    });
  withLinkOptions(
    lab.command('crash').description('kills endpoints under load and checks that no client notices'),
  )
    .addOption(new Option('--sessions <n>', 'client sessions').argParser(parseCount).default(60))
    .addOption(new Option('--kills <n>', 'faults, one after another').argParser(parseCount).default(10))
    .addOption(
      new Option('--fault <kind>', 'what is done to an endpoint').choices(crashFaults).default('process'),
    )
    .addOption(createKindsOption('half of the sessions'))
    .addOption(new Option('--forge <how>', 'tests of the laboratory itself').choices(forgeries).hideHelp())
    .addOption(new Option('--level <level>', 'of protection').choices(crashLevels).default('commit'))
    .addOption(new Option('--seed <n>', 'of choices and losses').argParser(parseWhole).default(1))
    .option('--json', 'one JSON object on standard output')
    .action(async (options: LabCrashOptions) => {
      process.exitCode = await runLabCrash(env(), options);
    });
  withLinkOptions(lab.command('rolling').description('ends and restarts each endpoint in turn under load'))
    .addOption(new Option('--sessions <n>', 'client sessions').argParser(parseCount).default(40))
    .addOption(new Option('--rounds <n>', 'times round all endpoints').argParser(parseCount).default(3))
    .addOption(new Option('--by <how>', 'how an endpoint ends').choices(['kill', 'drain']).default('kill'))
    .addOption(new Option('--seed <n>', 'of losses').argParser(parseWhole).default(1))
    .option('--json', 'one JSON object on standard output')
    .action(async (options: LabCrashOptions & LabRollingOptions & { readonly by: 'kill' | 'drain' }) => {
      if (options.by === 'drain') {
        process.exitCode = await runLabRolling(env(), options);
        return;
      }
      const kills = options.endpoints * options.rounds;
      process.exitCode = await runLabCrash(env(), { ...options, kills, fault: 'process', isRolling: true });
    });
  lab
    .command('chaos')
    .description('random moves, drains, kills, cuts and stalls under load, and what must hold all the same')
    .addOption(new Option('--steps <n>', 'steps in all').argParser(parseCount).default(2000))
    .addOption(new Option('--seed <n>', 'repeats a run').argParser(parseWhole).default(1))
    .addOption(new Option('--sessions <n>', 'client sessions').argParser(parseCount).default(20))
    .addOption(new Option('--endpoints <n>', 'endpoints a, b, …').argParser(parseCount).default(3))
    .addOption(createKindsOption('three for two other sessions'))
    .option('--json', 'one JSON object on standard output')
    .action(async (options: LabChaosOptions) => {
      process.exitCode = await runLabChaos(env(), options);
    });
  lab
    .command('predict')
    .description('the same traffic under several modes of the analytics module, on endpoints with CPU quotas')
    .addOption(
      new Option('--pattern <name>', 'how the load of one endpoint goes')
        .choices(trafficPatterns)
        .default('ramp'),
    )
    .addOption(new Option('--model <kind>', 'inverted: the model says the contrary').choices(['inverted']))
    .addOption(new Option('--repeats <n>', 'with seeds one after another').argParser(parseCount).default(5))
    .addOption(new Option('--seed <n>', 'of the first repeat').argParser(parseWhole).default(1))
    .addOption(
      new Option('--modes <list>', 'some of none, reactive, reactive-early, predictive')
        .argParser(parseModes)
        .default(predictModes),
    )
    .addOption(new Option('--endpoints <n>', 'endpoints a, b, …').argParser(parseCount).default(3))
    .addOption(
      new Option('--cpu-share <ratio>', 'of one CPU, the quota of each endpoint')
        .argParser(parseRatio)
        .default(0.2),
    )
    .addOption(new Option('--scale <ratio>', 'scales all times').argParser(parseRatio).default(1).hideHelp())
    .option('--plot <file>', 'load, limit and moves over time, as SVG')
    .option('--json', 'one JSON object on standard output')
    .action(async (options: LabPredictOptions) => {
      process.exitCode = await runLabPredict(env(), options);
    });
  withLinkOptions(
    lab.command('tails').description('drains an endpoint whose clients read their last bytes slowly'),
  )
    .addOption(new Option('--sessions <n>', 'clients').argParser(parseCount).default(100))
    .addOption(new Option('--level <level>', 'of protection').choices(crashLevels).default('none'))
    .addOption(new Option('--seed <n>', 'of sizes and losses').argParser(parseWhole).default(1))
    .option('--json', 'one JSON object on standard output')
    .action(async (options: LabTailsOptions) => {
      process.exitCode = await runLabTails(env(), options);
    });
  registerConnects(lab, env, {
    command: 'burst',
    kind: 'connect-burst',
    connects: 90,
    description: 'clients connect at the instant of a death',
  });
  registerConnects(lab, env, {
    command: 'accept-queue',
    kind: 'accept-queue',
    connects: 45,
    description: 'clients stand in the accept queue of an endpoint that dies',
  });
  lab
    .command('endpoint')
    .description('kills, ends, starts, stops, continues, cuts off or heals an endpoint')
    .addArgument(new Argument('<what>', 'to do').choices(endpointDeeds))
    .argument('<name>', 'a, b, …')
    .option('--lab <id>')
    .option('--protected', 'start: with its host agent; if left out, as the laboratory was made')
    .action(async (what: EndpointDeed, name: string, options: LabEndpointOptions) => {
      await runLabEndpoint(env(), what, name, options);
    });
  lab
    .command('exec')
    .description('runs a command in the network namespace of a party')
    .argument('<party>', 'client, access-point, a, b, …')
    .argument('<command...>')
    .option('--lab <id>')
    .passThroughOptions()
    .action(async (party: string, command: string[], options: { lab?: string }) => {
      process.exitCode = await runLabExec(party, command[0] === '--' ? command.slice(1) : command, options);
    });
}

function createKindsOption(howMany: string): Option {
  const what = `of clients in phases of their end: all, none or names with commas; ${howMany}`;
  return new Option('--kinds <list>', what).argParser(parseLifeKinds);
}

function registerConnects(
  lab: Command,
  env: () => CliEnv,
  what: {
    readonly command: string;
    readonly kind: MomentKind;
    readonly connects: number;
    readonly description: string;
  },
): void {
  lab
    .command(what.command)
    .description(what.description)
    .addOption(new Option('--connects <n>', 'clients').argParser(parseCount).default(what.connects))
    .addOption(
      new Option('--fault <kind>', 'what is done to the endpoint').choices(connectFaults).default('process'),
    )
    .addOption(new Option('--level <level>', 'of protection').choices(crashLevels).default('commit'))
    .addOption(new Option('--endpoints <n>', 'endpoints a, b, …').argParser(parseCount).default(3))
    .addOption(new Option('--seed <n>', 'of instants').argParser(parseWhole).default(1))
    .option('--ipv6', 'clients use the IPv6 VIP')
    .option('--json', 'one JSON object on standard output')
    .action(async (options: LabConnectsOptions) => {
      process.exitCode = await runLabConnects(env(), what.kind, options);
    });
}

/** Adds the options that say what the laboratory's network is like. */
export function withLinkOptions(command: Command): Command {
  return command
    .addOption(new Option('--endpoints <n>', 'endpoints a, b, …').argParser(parseCount).default(3))
    .addOption(
      new Option('--rtt-ms <ms>', 'round trip between client and bridge').argParser(parseMs).default(0),
    )
    .addOption(
      new Option('--loss <ratio>', 'packets lost on that link, 0..1').argParser(parseRatio).default(0),
    )
    .option('--ipv6', 'clients use the IPv6 VIP');
}

/** Starts a laboratory that outlives this process. */
export async function runLabUp(env: CliEnv, options: LabUpOptions): Promise<void> {
  const lab = await openLab(
    {
      endpoints: options.endpoints,
      ipv6: options.ipv6 === true,
      rttMs: options.rttMs,
      lossRatio: options.loss,
      isKept: true,
      isProtected: options.protected === true,
      ...(options.id === undefined ? {} : { id: options.id }),
    },
    (text) => env.err(`${text}\n`),
  );
  writeStatus(env, lab, options.json === true);
}

/** Shows what a laboratory consists of. */
export async function runLabStatus(env: CliEnv, options: { lab?: string; json?: boolean }): Promise<void> {
  writeStatus(env, Lab.attach(chooseLabId(options.lab)), options.json === true);
  return Promise.resolve();
}

/** Removes one laboratory, or all that have a state file. */
export async function runLabDown(env: CliEnv, options: { lab?: string; all?: boolean }): Promise<void> {
  // A laboratory whose maker runs (a test, a demo) is taken down by its maker.
  const idle = (id: string): boolean => !isOwned(readLabState(id));
  const ids = options.all === true ? listLabIds().filter(idle) : [chooseLabId(options.lab)];
  for (const id of ids) {
    await Lab.attach(id).down();
    env.err(`laboratory ${id}: removed\n`);
  }
}

/** Runs a command in a party's namespace with this process's streams; returns its exit code. */
export async function runLabExec(
  partyName: string,
  command: readonly string[],
  options: { lab?: string },
): Promise<number> {
  const lab = Lab.attach(chooseLabId(options.lab));
  const party = lab.party(partyName);
  const child = spawn('nsenter', [`--net=/run/netns/${party.namespace}`, '--', ...command], {
    stdio: 'inherit',
    // So that `restitch session list` in there speaks to this laboratory's access point.
    env: { ...process.env, RESTITCH_SOCKET: adminSocketOf(lab.plan) },
  });
  return new Promise((resolve, reject) => {
    child.on('error', (cause) =>
      reject(new RestitchError('unsupported_host', `cannot run nsenter: ${cause.message}`, { cause })),
    );
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

function writeStatus(env: CliEnv, lab: Lab, isJson: boolean): void {
  const { plan, state } = lab;
  const listeners = labListeners(state.endpoints.slice(0, 1).some((name) => isProtected(lab, name)));
  const parties = [plan.client, plan.accessPoint, ...state.endpoints.map((name) => lab.party(name))];
  const status = {
    id: plan.id,
    vip: { ipv4: plan.vipIpv4, ipv6: plan.vipIpv6 },
    ports: Object.fromEntries(listeners.map(({ name, port }) => [name, port])),
    listeners: listeners.map(({ name, port, level }) => ({ name, port, level })),
    rttMs: state.rttMs,
    lossRatio: state.lossRatio,
    parties: parties.map((p) => ({ name: p.name, namespace: p.namespace, ipv4: p.ipv4, ipv6: p.ipv6 })),
    processes: state.processes.map((p) => ({ name: p.name, pid: p.pid, isRunning: isSameProcess(p) })),
    directory: plan.directory,
  };
  if (isJson) {
    env.out(`${JSON.stringify(status)}\n`);
    return;
  }
  env.out(`laboratory ${status.id}: VIP ${plan.vipIpv4} and ${plan.vipIpv6}\n`);
  const describePort = ({ name, port, level }: LabListener): string =>
    `${name === 'files' ? 'HTTP files' : name} ${port}${level === 'none' ? '' : ` (${level})`}`;
  env.out(`ports: ${listeners.map(describePort).join(', ')}\n`);
  for (const p of status.parties) env.out(`  ${p.name.padEnd(13)} ${p.ipv4.padEnd(11)} ${p.ipv6}\n`);
  for (const p of status.processes) {
    env.out(`  process ${p.name.padEnd(13)} ${p.pid} ${p.isRunning ? 'runs' : 'has ended'}\n`);
  }
}
