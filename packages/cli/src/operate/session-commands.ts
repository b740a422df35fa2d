/** `restitch session list|show|watch|migrate`. */
import { formatSocketAddress, systemClock } from '@restitch/core';
import type { EventOf, SessionAnswer } from '@restitch/wire';
import type { Command } from 'commander';
import { exitCodes } from '@restitch/console';
import type { CliEnv } from '@restitch/console';
import { withAdmin, withAdminOptions } from './admin-call.js';
import type { AdminFlags } from './admin-call.js';
import { formatDurationMs, formatTable } from './format-table.js';
import { moveLine, storyLines, tailOf, takeOverLine } from './session-story.js';

/** Sessions asked for at once. */
const pageSize = 5000;

interface MigrateFlags extends AdminFlags {
  readonly to?: string;
  readonly force: boolean;
}

/** Mounts `session` with its subcommands. */
export function registerSessionCommands(program: Command, env: () => CliEnv): void {
  const session = program.command('session').description('live TCP sessions');
  withAdminOptions(session.command('list').description('all sessions and where they are'))
    .option('--endpoint <name>', 'only those of one endpoint')
    .action((flags: AdminFlags & { endpoint?: string }) => listSessions(env(), flags));
  withAdminOptions(session.command('show').description("one session's story: where it is, and every move"))
    .argument('<id>')
    .action((id: string, flags: AdminFlags) => showSession(env(), id, flags));
  withAdminOptions(session.command('watch').description('what happens, until interrupted'))
    .argument('[id]', 'only this session')
    .action((id: string | undefined, flags: AdminFlags) => watchSessions(env(), id, flags));
  withAdminOptions(session.command('migrate').description('moves a session to another endpoint'))
    .argument('<id>')
    .option('--to <endpoint>', 'the target; chosen if left out')
    .option('--force', 'also a pinned or busy session', false)
    .action((id: string, flags: MigrateFlags) => migrateSession(env(), id, flags));
}

/** Prints sessions, one a line with `--json`. */
async function listSessions(env: CliEnv, flags: AdminFlags & { endpoint?: string }): Promise<void> {
  const all: SessionAnswer[] = [];
  await withAdmin(flags, env, async (client) => {
    const which = flags.endpoint === undefined ? {} : { endpoint: flags.endpoint };
    for (;;) {
      const request = { cmd: 'sessions' as const, offset: all.length, limit: pageSize, ...which };
      const { total, sessions } = await client.call(request);
      all.push(...sessions);
      if (sessions.length === 0 || all.length >= total) return;
    }
  });
  if (flags.json) for (const s of all) env.out(`${JSON.stringify(s)}\n`);
  else env.out(formatTable(sessionColumns, all));
}

/** Prints one session's story. */
async function showSession(env: CliEnv, id: string, flags: AdminFlags): Promise<void> {
  const story = await withAdmin(flags, env, (client) => client.call({ cmd: 'session', id }));
  env.out(flags.json ? `${JSON.stringify(story)}\n` : storyLines(story));
}

/** Prints what happens until interrupted. */
async function watchSessions(env: CliEnv, id: string | undefined, flags: AdminFlags): Promise<void> {
  const request = { cmd: 'watch' as const, ...(id === undefined ? {} : { session: id }) };
  const show = (event: EventOf<'watch'>): void => {
    env.out(flags.json ? `${JSON.stringify(event)}\n` : `${eventLine(event)}\n`);
  };
  try {
    await withAdmin(flags, env, (client) => client.call(request, show));
  } catch (error) {
    if (!env.signal.aborted) throw error;
  }
}

/** Moves a session; exit code 1 unless it is committed. */
async function migrateSession(env: CliEnv, id: string, flags: MigrateFlags): Promise<void> {
  const request = {
    cmd: 'migrate' as const,
    id,
    force: flags.force,
    ...(flags.to === undefined ? {} : { target: flags.to }),
  };
  const { move } = await withAdmin(flags, env, (client) => client.call(request));
  env.out(flags.json ? `${JSON.stringify(move)}\n` : `${moveLine(move)}\n`);
  if (move.outcome !== 'committed') process.exitCode = exitCodes.failed;
}

const sessionColumns = [
  { title: 'ID', text: (s: SessionAnswer) => s.id },
  { title: 'CLIENT', text: (s: SessionAnswer) => formatSocketAddress(s.flow.client) },
  { title: 'VIP', text: (s: SessionAnswer) => formatSocketAddress(s.flow.vip) },
  { title: 'ENDPOINT', text: (s: SessionAnswer) => s.endpoint },
  { title: 'PHASE', text: (s: SessionAnswer) => s.phase },
  { title: 'EPOCH', text: (s: SessionAnswer) => String(s.epoch), isNumber: true },
  { title: 'MOVES', text: (s: SessionAnswer) => String(s.moves), isNumber: true },
  {
    title: 'AGE',
    text: (s: SessionAnswer) => formatDurationMs(Math.max(0, systemClock.wallMs() - s.openedAtMs)),
    isNumber: true,
  },
  { title: 'NOTE', text: noteOf },
];

function noteOf(s: SessionAnswer): string {
  if (s.doubt !== null) return s.doubt;
  if (s.move !== null) return `${s.move.state} to ${s.move.target}`;
  if (s.phase === 'closing') return tailOf(s);
  return s.pinned === null ? '' : `pinned: ${s.pinned}`;
}

function eventLine(event: EventOf<'watch'>): string {
  const at = new Date(event.atMs).toISOString().slice(11, 23);
  switch (event.t) {
    case 'move':
      return `${at} ${moveLine(event.move)}`;
    case 'opened':
      return `${at} ${event.sessionId} opened at ${event.endpoint} by ${formatSocketAddress(event.flow.client)}`;
    case 'ended':
      return `${at} ${event.sessionId} ended at ${event.endpoint}: ${event.reason}`;
    case 'analytics':
      return `${at} analytics ${event.name}: ${event.text}`;
    case 'endpoint':
      return `${at} ${event.endpoint} was ${event.before}, is ${event.state}`;
    case 'take-over':
      return `${at} ${takeOverLine(event)}`;
  }
}
