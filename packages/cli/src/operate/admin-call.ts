/** How operate commands reach the daemon: which socket, and for how long. */
import { openAdminClient } from '@restitch/access-point';
import type { AdminClient } from '@restitch/access-point';
import type { Command } from 'commander';
import { Option } from 'commander';
import type { CliEnv } from '@restitch/console';

/** Options all operate commands share. */
export interface AdminFlags {
  readonly socket: string;
  readonly json: boolean;
}

/** Where a daemon called `main` listens; RESTITCH_SOCKET names another. */
const defaultSocket = '/run/restitch/main.sock';

/** Adds `--socket` and `--json`. */
export function withAdminOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--socket <path>', 'admin socket of the access point')
        .env('RESTITCH_SOCKET')
        .default(defaultSocket),
    )
    .option('--json', 'JSON on standard output', false);
}

/** Runs `use` with a connection that is closed afterwards, and at once when the command is interrupted. */
export async function withAdmin<T>(
  flags: AdminFlags,
  env: Pick<CliEnv, 'signal'>,
  use: (client: AdminClient) => Promise<T>,
): Promise<T> {
  const client = await openAdminClient(flags.socket);
  const stop = (): void => client.close();
  env.signal.addEventListener('abort', stop, { once: true });
  try {
    return await use(client);
  } finally {
    env.signal.removeEventListener('abort', stop);
    client.close();
  }
}
