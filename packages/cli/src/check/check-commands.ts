/** `restitch check [FILE]` and `restitch validate FILE`. */
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { type ConfigResult, checkConfig, formatIssue } from '@restitch/access-point/internal';
import { type Clock, RestitchError, systemClock } from '@restitch/core';
import { type Command, Option } from 'commander';
import type { CliEnv } from '@restitch/console';
import { checkBpfDirectory, defaultPinDirectories } from '@restitch/console';
import { configChecks } from './check-config.js';
import {
  type CheckResult,
  type HostRole,
  checkFeatures,
  hostChecks,
  hostRoles,
  runChecks,
} from '@restitch/console';
import { type HostFacts, createHostFacts } from '@restitch/console';

/** What the commands take from outside; tests describe another host. */
export interface CheckEnv extends Pick<CliEnv, 'out'> {
  readonly facts: HostFacts;
  readonly clock: Clock;
}

const realEnv: CheckEnv = {
  out: (text) => void process.stdout.write(text),
  facts: createHostFacts(release()),
  clock: systemClock,
};

/** Adds `check` and `validate` to the program. */
export function registerCheckCommands(program: Command, env: CheckEnv = realEnv): void {
  program
    .command('check')
    .description('list what this host has and lacks, with remedies; exit 2 when something needed is missing')
    .argument('[file]', 'configuration of an access point, to check the host against it')
    .addOption(new Option('--role <role>', 'what the host is to be').choices([...hostRoles]))
    .option('--json', 'one object on standard output', false)
    .action(async (file: string | undefined, options: { role?: HostRole; json: boolean }) => {
      const role = options.role ?? (file === undefined ? 'lab' : 'access-point');
      const config = file === undefined ? undefined : readConfig(file);
      const extra = config === undefined ? [] : configChecks(config, env.clock);
      const pins = config?.pinDirectory ?? defaultPinDirectories[role];
      const results = [
        ...(await runChecks(hostChecks, role, env.facts)),
        ...(await checkFeatures(role, env.facts)),
        ...(await checkBpfDirectory(pins, role, env.facts)),
        ...(await runChecks(extra, role, env.facts)),
      ];
      report(results, role, { json: options.json, out: env.out });
    });
  program
    .command('validate')
    .description('check a configuration file without a host: keys, units, names')
    .argument('<file>', 'configuration of an access point')
    .option('--json', 'one object on standard output', false)
    .action((file: string, options: { json: boolean }) => {
      const result = checkConfig(readText(file));
      if (options.json)
        env.out(`${JSON.stringify({ ok: result.ok, file, issues: result.ok ? [] : result.issues })}\n`);
      throwIfInvalid(result, file);
      if (!options.json) env.out(`${file}: good\n`);
    });
}

function report(
  results: readonly CheckResult[],
  role: HostRole,
  to: { readonly json: boolean; readonly out: (text: string) => void },
): void {
  const missing = results.filter((r) => r.status === 'missing');
  if (to.json) to.out(`${JSON.stringify({ ok: missing.length === 0, role, checks: results })}\n`);
  else to.out(formatChecks(results));
  if (missing.length === 0) return;
  const names = missing.map((r) => r.name);
  throw new RestitchError('unsupported_host', `needed and missing for ${role}: ${names.join(', ')}`, {
    details: { missing: names },
  });
}

/** The list for people: groups, a mark, what was found, the remedy on a line of its own. */
export function formatChecks(results: readonly CheckResult[]): string {
  const marks = { ok: 'ok     ', missing: 'MISSING', absent: 'absent ' } as const;
  const width = Math.max(0, ...results.map((r) => r.name.length));
  let group = '';
  let text = '';
  for (const r of results) {
    if (r.group !== group) text += `${r.group}\n`;
    group = r.group;
    text += `  ${marks[r.status]}  ${r.name.padEnd(width)}  ${r.found}\n`;
    if (r.remedy !== '') text += `           → ${r.remedy}\n`;
  }
  return text;
}

function readConfig(file: string) {
  const result = checkConfig(readText(file));
  throwIfInvalid(result, file);
  return result.config;
}

function throwIfInvalid(
  result: ConfigResult,
  file: string,
): asserts result is Extract<ConfigResult, { ok: true }> {
  if (result.ok) return;
  const listed = result.issues.map((issue) => formatIssue(issue, file));
  throw new RestitchError('config_invalid', listed.join('\n'), { details: { issues: listed } });
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new RestitchError('usage', `cannot read ${file}: ${(cause as NodeJS.ErrnoException).code ?? ''}`, {
      cause,
    });
  }
}
