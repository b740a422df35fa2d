/** Public door of @restitch/lab: commands for the `restitch` command to mount, each wing loaded when it is asked for. */
import type { Command } from 'commander';

/** Mounts `lab`. */
export async function mountLabCommands(program: Command): Promise<void> {
  (await import('./lab/commands.js')).registerLabCommands(program);
}

/** Mounts `demo`. */
export async function mountDemoCommands(program: Command): Promise<void> {
  (await import('./demo/run-demo.js')).registerDemoCommands(program);
}

/** Mounts `bench`. */
export async function mountBenchCommands(program: Command): Promise<void> {
  (await import('./bench/commands.js')).registerBenchCommands(program);
}
