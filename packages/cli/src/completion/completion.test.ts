import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Argument, Command, Option } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCommandTree } from './command-tree.js';
import { registerCompletionCommand } from './completion-command.js';
import { type Shell, renderCompletion, shells } from './render-completion.js';

function sampleProgram(): Command {
  const program = new Command('restitch').version('1');
  const lab = program.command('lab').description("the machine's laboratory: up [and] down");
  lab
    .command('up')
    .description('start')
    .option('--endpoints <n>', 'how many')
    .option('-i, --ipv6', 'use IPv6')
    .option('--log <file>', 'where to write');
  lab.command('secret', { hidden: true });
  program
    .command('drain')
    .addArgument(new Argument('<how>').choices(['gently', 'quickly']))
    .addOption(
      new Option('--on-deadline <what>', "what then: it's said").choices(['wait', 'force', 'reset']),
    );
  program.command('validate').argument('<file>', 'a file');
  return program;
}

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'restitch-completion-'));
  writeFileSync(join(directory, 'ap.yaml'), '');
});
afterAll(() => rmSync(directory, { recursive: true }));

/** What bash itself would offer after the words. */
function completeInBash(...words: string[]): string[] {
  const script = `${renderCompletion(readCommandTree(sampleProgram()), 'bash')}
COMP_WORDS=(restitch "$@"); COMP_CWORD=$#; _restitch; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const out = execFileSync('bash', ['--norc', '-c', script, 'bash', ...words], {
    cwd: directory,
    encoding: 'utf8',
  });
  return out.split('\n').filter((line) => line !== '');
}

describe('completion in bash', () => {
  it.each([
    ['the commands', [''], ['lab', 'drain', 'validate', 'help']],
    ['commands that begin so', ['l'], ['lab']],
    ['commands below a command, hidden ones not', ['lab', ''], ['up', 'help']],
    ['options of the command', ['lab', 'up', '--'], ['--endpoints', '--ipv6', '--log', '--help']],
    ['options behind an option with its value', ['lab', 'up', '--endpoints', '3', '--i'], ['--ipv6']],
    ['nothing for a value that is free', ['lab', 'up', '--endpoints', ''], []],
    ['files for a value that is one', ['lab', 'up', '--log', 'ap'], ['ap.yaml']],
    ['the words of a value', ['drain', '--on-deadline', ''], ['wait', 'force', 'reset']],
    ['the words of an argument', ['drain', 'q'], ['quickly']],
    ['files for an argument that is one', ['validate', ''], ['ap.yaml']],
    ['options of the program itself', ['--v'], ['--version']],
  ])('offers %s', (_what, words, expected) => {
    expect(completeInBash(...words)).toEqual(expected);
  });
});

describe('completion scripts', () => {
  it.each(shells)('are sound for %s, as far as that shell is here to say so', (shell) => {
    const script = renderCompletion(readCommandTree(sampleProgram()), shell);
    for (const word of ['lab', 'up', 'endpoints', 'ipv6', 'quickly', 'reset']) expect(script).toContain(word);
    expect(script).not.toContain('secret');
    const file = join(directory, `script.${shell}`);
    writeFileSync(file, script);
    const checked = spawnSync(shell, ['-n', file], { encoding: 'utf8' });
    if (checked.error === undefined) expect(checked.stderr).toBe('');
  });

  it('quote what descriptions contain', () => {
    const tree = readCommandTree(sampleProgram());
    expect(renderCompletion(tree, 'zsh')).toContain("'lab:the machine'\\''s laboratory: up [and] down'");
    expect(renderCompletion(tree, 'zsh')).toContain(
      "'--on-deadline[what then  it'\\''s said]:value:(wait force reset)'",
    );
    expect(renderCompletion(tree, 'fish')).toContain("-d 'the machine\\'s laboratory: up [and] down'");
  });

  it.each(shells)('are printed by the command: %s', async (shell: Shell) => {
    let out = '';
    const program = sampleProgram();
    registerCompletionCommand(program, { out: (text) => void (out += text) });
    await program.parseAsync(['completion', shell], { from: 'user' });
    expect(out).toBe(renderCompletion(readCommandTree(program), shell));
    expect(out).toContain('completion');
  });
});
