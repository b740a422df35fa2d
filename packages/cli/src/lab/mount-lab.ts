/**
 * `lab`, `demo` and `bench`, which stand in a package of their own: whoever operates restitch needs none of it, and an
 * installation without it says so in its help and when one of them is asked for.
 */
import { RestitchError } from '@restitch/core';
import type { Command } from 'commander';

/** What the package of the laboratory offers. */
export type LabPackage = typeof import('@restitch/lab');

/** A top-level command of that package. */
export type LabCommand = 'lab' | 'demo' | 'bench';

const packageName = '@restitch/lab';
const remedy = `npm install ${packageName}`;
const mounts = { lab: 'mountLabCommands', demo: 'mountDemoCommands', bench: 'mountBenchCommands' } as const;

/** Mounts one of the commands; where the package is missing, one of that name that fails with `unsupported_host`. */
export async function mountLab(
  program: Command,
  command: LabCommand,
  load: () => Promise<LabPackage> = () => import('@restitch/lab'),
): Promise<void> {
  const lab = await load().catch((cause: unknown) => {
    if (isLabMissing(cause)) return undefined;
    throw cause;
  });
  if (lab !== undefined) return lab[mounts[command]](program);
  program
    .command(command, { hidden: command === 'bench' })
    .description(`not installed here: ${remedy}`)
    .argument('[words...]')
    .allowUnknownOption()
    .action(() => {
      throw new RestitchError(
        'unsupported_host',
        `${command} needs the package ${packageName}, which is not installed: ${remedy}`,
      );
    });
}

/** Of all that can be missing only the package itself: anything that it cannot find is a fault of its installation. */
function isLabMissing(cause: unknown): boolean {
  const isNotFound = cause instanceof Error && 'code' in cause && cause.code === 'ERR_MODULE_NOT_FOUND';
  return isNotFound && cause.message.includes(`package '${packageName}'`);
}
