/** `restitch host setup|undo`: the privileged part of an endpoint's host, which systemd or a person runs once. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { RestitchError } from '@restitch/core';
import type { Command } from 'commander';
import { planHost } from './plan-host.js';

const run = promisify(execFile);

interface HostOptions {
  readonly vip: string[];
  readonly interface: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** Mounts `host setup` and `host undo`. */
export function registerHostCommands(program: Command): void {
  const host = program.command('host').description('prepare the host of an endpoint, once, as root');
  for (const [verb, description] of [
    ['setup', 'put the VIP on lo, keep quiet about it, let moved flows pass the connection tracker'],
    ['undo', 'take back what setup did'],
  ] as const) {
    host
      .command(verb)
      .description(description)
      .requiredOption('--vip <address...>', 'virtual addresses, IPv4 or IPv6')
      .requiredOption('--interface <name>', "interface on the VIP's network")
      .option('--dry-run', 'print the steps, do nothing')
      .option('--json', 'one object on stdout')
      .action((options: HostOptions) => performPlan(verb, options));
  }
}

async function performPlan(verb: 'setup' | 'undo', options: HostOptions): Promise<void> {
  const steps = planHost({ vips: options.vip, interfaceName: options.interface });
  const ordered = verb === 'setup' ? steps : steps.toReversed();
  const done: Array<{ what: string; command: string; outcome: string }> = [];
  for (const step of ordered) {
    const [command, ...args] = verb === 'setup' ? step.apply : step.undo;
    if (command === undefined) continue;
    const line = [command, ...args].join(' ');
    let outcome = 'planned';
    if (options.dryRun !== true) {
      outcome = await run(command, args).then(
        () => 'done',
        (cause: unknown) => {
          if (step.isOptional || verb === 'undo') return 'skipped';
          throw new RestitchError('unsupported_host', `host ${verb}: ${line} failed`, { cause });
        },
      );
    }
    done.push({ what: step.what, command: line, outcome });
    if (options.json !== true) process.stdout.write(`${outcome.padEnd(8)} ${line}\n         ${step.why}\n`);
  }
  if (options.json === true) process.stdout.write(`${JSON.stringify({ verb, steps: done })}\n`);
}
