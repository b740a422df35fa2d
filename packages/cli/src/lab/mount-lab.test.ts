import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { type LabCommand, type LabPackage, mountLab } from './mount-lab.js';

const commands: readonly LabCommand[] = ['lab', 'demo', 'bench'];

function notFound(message: string): () => Promise<LabPackage> {
  return () => Promise.reject(Object.assign(new Error(message), { code: 'ERR_MODULE_NOT_FOUND' }));
}

/** As Node says it. */
const missing = notFound("Cannot find package '@restitch/lab' imported from /opt/restitch/mount-lab.js");

function createProgram(): Command {
  return new Command('restitch').exitOverride().configureOutput({ writeOut: () => undefined });
}

describe('with the package of the laboratory', () => {
  it.each(commands)('%s is mounted with what is below it', async (name) => {
    const program = createProgram();
    await mountLab(program, name);
    expect(program.commands.map((c) => c.name())).toEqual([name]);
    expect(program.commands[0]?.description()).not.toContain('not installed');
  });
});

describe('without the package of the laboratory', () => {
  it.each(commands)('%s, whatever follows it, says what is missing and what to do', async (name) => {
    const program = createProgram();
    await mountLab(program, name, missing);
    const run = program.parseAsync([name, 'move', '--sessions', '5', '--json'], { from: 'user' });
    await expect(run).rejects.toMatchObject({
      code: 'unsupported_host',
      message: `${name} needs the package @restitch/lab, which is not installed: npm install @restitch/lab`,
    });
  });

  it('help names lab and demo as not installed, and keeps bench to itself', async () => {
    const program = createProgram();
    for (const name of commands) await mountLab(program, name, missing);
    const help = program.helpInformation();
    expect(help).toMatch(/lab.*not installed here: npm install @restitch\/lab/);
    expect(help).toMatch(/demo.*not installed here: npm install @restitch\/lab/);
    expect(help).not.toContain('bench');
  });

  it('a package that is there and broken is not called missing', async () => {
    const broken = notFound(
      "Cannot find package 'yaml' imported from /opt/@restitch/lab/dist/lab/lab-config.js",
    );
    await expect(mountLab(createProgram(), 'lab', broken)).rejects.toThrow("'yaml'");
  });
});
