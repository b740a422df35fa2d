/** The commands an operator uses against a running access point, and the access point itself. */
import type { Command } from 'commander';
import { createProcessEnv } from '@restitch/console';
import type { CliEnv } from '@restitch/console';
import { registerDaemonCommands } from './daemon-commands.js';
import { registerEndpointCommands } from './endpoint-commands.js';
import { registerSessionCommands } from './session-commands.js';

/** Mounts `access-point`, `status`, `reload`, `endpoint …` and `session …`. */
export function registerOperateCommands(program: Command, env: () => CliEnv = createProcessEnv): void {
  registerDaemonCommands(program, env);
  registerEndpointCommands(program, env);
  registerSessionCommands(program, env);
}
