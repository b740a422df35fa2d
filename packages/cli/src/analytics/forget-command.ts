/** `restitch analytics forget`. */
import type { Command } from 'commander';
import { createProcessEnv } from '@restitch/console';
import type { CliEnv } from '@restitch/console';
import { type AdminFlags, withAdmin, withAdminOptions } from '../operate/admin-call.js';

/** Mounts `forget` below `analytics`. */
export function registerForgetCommand(analytics: Command, env: () => CliEnv = createProcessEnv): void {
  withAdminOptions(
    analytics.command('forget').description('erases what is remembered of clients, on disk and in memory'),
  )
    .argument('<prefix>', 'an address, or a CIDR block such as 10.1.0.0/16 or 2001:db8::/48')
    .action((prefix: string, flags: AdminFlags) => forgetClients(env(), prefix, flags));
}

/** Erases the past of a block of clients. */
export async function forgetClients(env: CliEnv, prefix: string, flags: AdminFlags): Promise<void> {
  const answer = await withAdmin(flags, env, (client) => client.call({ cmd: 'clients.forget', prefix }));
  env.out(
    flags.json ? `${JSON.stringify(answer)}\n` : `${answer.forgotten} prefixes of ${prefix} forgotten\n`,
  );
}
