/** `restitch pki init` and `restitch pki issue`. */
import { Argument, type Command } from 'commander';
import { type PeerRole, type TlsFiles, peerRoles } from '@restitch/channel';
import { RestitchError } from '@restitch/core';
import type { CliEnv } from '@restitch/console';
import { createDevPki, defaultCaDays, defaultCertificateDays, openDevPki } from '@restitch/pki';

const standardOutput: Pick<CliEnv, 'out'> = { out: (text) => void process.stdout.write(text) };

/** Adds `pki init` and `pki issue` to the program. */
export function registerPkiCommands(program: Command, env: Pick<CliEnv, 'out'> = standardOutput): void {
  const pki = program.command('pki').description('development certificates for mutual TLS');
  pki
    .command('init')
    .description('make a certificate authority')
    .requiredOption('--dir <directory>', 'where its files go')
    .option('--cluster <name>', 'part of every identity', 'dev')
    .option('--days <n>', 'validity', parseDays, defaultCaDays)
    .option('--force', 'replace one that is there', false)
    .option('--json', 'one object on standard output', false)
    .action(
      async (options: { dir: string; cluster: string; days: number; force: boolean; json: boolean }) => {
        const made = await createDevPki(options.dir, { ...options, validDays: options.days });
        const result = { cluster: made.cluster, directory: made.directory, caFile: made.caFile };
        printLine(
          env,
          options.json ? JSON.stringify(result) : `made ${made.caFile} for cluster ${made.cluster}`,
        );
      },
    );
  pki
    .command('issue')
    .description('issue a certificate to one party')
    .addArgument(new Argument('<role>', 'role of the party').choices([...peerRoles]))
    .argument('<name>', 'name of the party, as in the configuration')
    .requiredOption('--dir <directory>', 'directory of the authority')
    .option('--days <n>', 'validity', parseDays, defaultCertificateDays)
    .option('--force', 'replace files that are there (rotation)', false)
    .option('--json', 'one object on standard output', false)
    .action(async (role: PeerRole, name: string, options: IssueFlags) => {
      const files = await issue(role, name, options);
      printLine(
        env,
        options.json
          ? JSON.stringify({ role, name, ...files })
          : `issued ${files.certFile} and ${files.keyFile} (authority ${files.caFile})`,
      );
    });
}

function printLine(env: Pick<CliEnv, 'out'>, line: string): void {
  env.out(`${line}\n`);
}

interface IssueFlags {
  readonly dir: string;
  readonly days: number;
  readonly force: boolean;
  readonly json: boolean;
}

async function issue(role: PeerRole, name: string, options: IssueFlags): Promise<TlsFiles> {
  const pki = await openDevPki(options.dir);
  return pki.issue(role, name, { validDays: options.days, force: options.force });
}

function parseDays(text: string): number {
  const days = Number(text);
  if (!Number.isFinite(days) || days <= 0) {
    throw new RestitchError('usage', `--days ${text}: expected a number of days above 0`);
  }
  return days;
}
