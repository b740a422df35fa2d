/** `restitch completion bash|zsh|fish`. */
import { Argument, type Command } from 'commander';
import type { CliEnv } from '@restitch/console';
import { readCommandTree } from './command-tree.js';
import { type Shell, renderCompletion, shells } from './render-completion.js';

const standardOutput: Pick<CliEnv, 'out'> = { out: (text) => void process.stdout.write(text) };

/** Adds `completion`; the program must have all its other commands by the time it runs. */
export function registerCompletionCommand(program: Command, env: Pick<CliEnv, 'out'> = standardOutput): void {
  program
    .command('completion')
    .description('print the completion script of a shell')
    .addArgument(new Argument('<shell>', 'which shell').choices([...shells]))
    .action((shell: Shell) => env.out(renderCompletion(readCommandTree(program), shell)));
}
