/**
 * The `restitch` command. Rooms are imported when one of their commands is asked for: loading all of them takes longer
 * than most commands run.
 */
import { toRestitchError } from '@restitch/core';
import { Command, CommanderError } from 'commander';
import { mountLab } from './lab/mount-lab.js';
import { exitCodes, toExitCode } from '@restitch/console';

/** One room of commands: its top-level names, and how to mount it. */
interface CommandRoom {
  readonly names: readonly string[];
  readonly mount: (program: Command) => Promise<void>;
  /** Its commands look at all the others. */
  readonly needsAll?: true;
}

const rooms: readonly CommandRoom[] = [
  {
    names: ['access-point', 'status', 'reload', 'endpoint', 'session'],
    mount: async (program) => (await import('./operate/commands.js')).registerOperateCommands(program),
  },
  {
    names: ['pki'],
    mount: async (program) => (await import('./pki/pki-commands.js')).registerPkiCommands(program),
  },
  {
    names: ['host'],
    mount: async (program) => (await import('./host/commands.js')).registerHostCommands(program),
  },
  {
    names: ['agent'],
    mount: async (program) => (await import('./agent/agent-commands.js')).registerAgentCommands(program),
  },
  {
    names: ['analytics'],
    mount: async (program) => {
      const group = (await import('./analytics/commands.js')).registerAnalyticsCommands(program);
      (await import('./analytics/forget-command.js')).registerForgetCommand(group);
    },
  },
  { names: ['lab'], mount: (program) => mountLab(program, 'lab') },
  { names: ['demo'], mount: (program) => mountLab(program, 'demo') },
  { names: ['bench'], mount: (program) => mountLab(program, 'bench') },
  {
    names: ['check', 'validate'],
    mount: async (program) => (await import('./check/check-commands.js')).registerCheckCommands(program),
  },
  {
    names: ['completion'],
    mount: async (program) =>
      (await import('./completion/completion-command.js')).registerCompletionCommand(program),
    needsAll: true,
  },
];

/** Runs one command line (without node and script) and returns the exit code: 0 ok, 1 failed, 2 usage, 3 degraded. */
export async function main(argv: readonly string[]): Promise<number> {
  const program = new Command('restitch')
    .description('moves live TCP sessions between servers without the client noticing')
    .version('0.1.0')
    .enablePositionalOptions()
    .exitOverride()
    .showHelpAfterError(true);
  try {
    await mountRooms(program, argv[0]);
    await program.parseAsync([...argv], { from: 'user' });
    return typeof process.exitCode === 'number' ? process.exitCode : exitCodes.ok;
  } catch (error) {
    return reportFailure(error);
  }
}

async function mountRooms(program: Command, name: string | undefined): Promise<void> {
  const wanted = rooms.filter((room) => name !== undefined && room.names.includes(name));
  const areAllNeeded = wanted.length === 0 || wanted.some((room) => room.needsAll);
  for (const room of areAllNeeded ? rooms : wanted) await room.mount(program);
}

function reportFailure(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  const { code, message } = toRestitchError(error);
  process.stderr.write(`restitch: ${message} (${code})\n`);
  if (process.env['RESTITCH_DEBUG'] !== undefined && error instanceof Error) {
    process.stderr.write(`${error.stack ?? ''}\n`);
  }
  return toExitCode(error);
}
