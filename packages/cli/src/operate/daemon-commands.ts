/** `restitch access-point`, `restitch status` and `restitch reload`. */
import { runDaemon } from '@restitch/access-point';
import type { Command } from 'commander';
import { exitCodes } from '@restitch/console';
import type { CliEnv } from '@restitch/console';
import { withAdmin, withAdminOptions } from './admin-call.js';
import type { AdminFlags } from './admin-call.js';

/** Mounts the commands of the daemon itself. */
export function registerDaemonCommands(program: Command, env: () => CliEnv): void {
  program
    .command('access-point')
    .description('runs the access point until SIGTERM; traffic flows on when it ends')
    .requiredOption('--config <file>', 'its configuration')
    .option('--json', 'one JSON object on standard output when it is ready', false)
    .action((options: { config: string; json: boolean }) => runAccessPoint(env(), options));
  withAdminOptions(program.command('status').description('how the access point is')).action(
    (flags: AdminFlags) => showStatus(env(), flags),
  );
  withAdminOptions(
    program.command('reload').description('takes up the changed configuration; a bad one is refused whole'),
  ).action((flags: AdminFlags) => reload(env(), flags));
}

/** Runs the daemon in this process. */
async function runAccessPoint(env: CliEnv, options: { config: string; json: boolean }): Promise<void> {
  await runDaemon({
    configFile: options.config,
    signal: env.signal,
    onReady: (info) => {
      if (options.json) env.out(`${JSON.stringify({ ready: true, pid: process.pid, ...info })}\n`);
      else env.err(`ready: control port ${info.controlPort}, admin socket ${info.adminSocket}\n`);
    },
  });
}

/** Prints the daemon's status; exit code 3 while something is in doubt. */
async function showStatus(env: CliEnv, flags: AdminFlags): Promise<void> {
  const s = await withAdmin(flags, env, (client) => client.call({ cmd: 'status' }));
  if (s.isRebuilding || s.doubts > 0) process.exitCode = exitCodes.degraded;
  if (flags.json) {
    env.out(`${JSON.stringify(s)}\n`);
    return;
  }
  const lines = [
    `access point ${s.name} of cluster ${s.cluster}, pid ${s.pid}, since ${new Date(s.startedAtMs).toISOString()}`,
    `  ${s.endpoints} endpoints, ${s.sessions} sessions${s.closing > 0 ? ` (${s.closing} closing)` : ''}, ${s.dataplane.flows} flow records${s.isRebuilding ? ', rebuilding' : ''}`,
    `  moves: ${s.moves.running} running, ${s.moves.waiting} waiting, ${s.moves.lastSeq} ended`,
    `  held: ${s.dataplane.heldBytes} bytes, ${s.dataplane.heldDropped} packets dropped`,
    ...(s.doubts > 0 ? [`  ${s.doubts} sessions in doubt: a party of their move is not connected`] : []),
    ...Object.entries(s.counters).map(([name, value]) => `  ${name} ${value}`),
  ];
  env.out(`${lines.join('\n')}\n`);
}

/** Asks the daemon to read its configuration again. */
async function reload(env: CliEnv, flags: AdminFlags): Promise<void> {
  const done = await withAdmin(flags, env, (client) => client.call({ cmd: 'reload' }));
  env.out(flags.json ? `${JSON.stringify(done)}\n` : 'reloaded\n');
}
