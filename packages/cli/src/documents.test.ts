/** What documents and comments name exists: pages, files, scripts, commands with their options, counters, the port of the example. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { registerAgentCommands } from './agent/agent-commands.js';
import { registerAnalyticsCommands } from './analytics/commands.js';
import { registerForgetCommand } from './analytics/forget-command.js';
import { registerCheckCommands } from './check/check-commands.js';
import { registerHostCommands } from './host/commands.js';
import { mountLab } from './lab/mount-lab.js';
import { registerOperateCommands } from './operate/commands.js';
import { registerPkiCommands } from './pki/pki-commands.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const skipped = new Set(['node_modules', 'dist', 'build', 'coverage', '.git', '.cache']);

/** Every file of the repository, relative to its root. */
const files = listFiles(root);
const documents = files.filter((path) => path.endsWith('.md'));
const sources = files.filter((path) => /^packages\/.*\.(ts|c|h)$/.test(path));

function listFiles(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (skipped.has(entry.name)) return [];
    return entry.isDirectory() ? listFiles(path) : [relative(root, path)];
  });
}

/** `found` in each file, as `file: what`, where `isGood` says no. */
function faultsIn(
  paths: readonly string[],
  found: (text: string) => Iterable<string>,
  isGood: (what: string, path: string) => boolean,
): string[] {
  return paths.flatMap((path) =>
    [...found(read(path))].filter((what) => !isGood(what, path)).map((what) => `${path}: ${what}`),
  );
}

const captures = (pattern: RegExp) => (text: string) =>
  [...text.matchAll(pattern)].map(([, what]) => what ?? '');

describe('documents', () => {
  it('were found', () => {
    expect(documents).toContain('docs/glossary.md');
    expect(sources.length).toBeGreaterThan(300);
  });

  it('link to what is there', () => {
    const links = captures(/\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)/g);
    expect(faultsIn(documents, links, (to, path) => existsSync(join(root, dirname(path), to)))).toEqual([]);
  });

  it('name files that are there', () => {
    const paths = captures(/`((?:packages|test|scripts|docs|deploy|examples|bench)\/[\w./@-]*)`/g);
    expect(faultsIn(documents, paths, (path) => existsSync(join(root, path)))).toEqual([]);
  });

  it('all stand in the index', () => {
    const index = read('docs/README.md');
    const pages = documents.filter((path) => path.startsWith('docs/') && path !== 'docs/README.md');
    expect(pages.filter((path) => !index.includes(`](${relative('docs', path)})`))).toEqual([]);
  });

  it('name scripts of package.json', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = captures(/\bnpm run ([\w-]+)/g);
    expect(faultsIn(documents, named, (script) => script in scripts)).toEqual([]);
  });

  it('name counters that somebody counts', () => {
    const counted = sources
      .filter((path) => !path.endsWith('.test.ts'))
      .map(read)
      .join('\n');
    const made = [...counted.matchAll(/`(\w+_)\$\{[^}`]*\}(\w*_total)`/g)];
    // Of a name that is put together, the part in the middle is a word of the program, too.
    const isWord = (part: string): boolean =>
      counted.includes(`'${part}'`) || counted.includes(`'${part.replaceAll('_', '-')}'`);
    const isCounted = (name: string): boolean =>
      counted.includes(`'${name}'`) ||
      made.some(
        ([, a = '', z = '']) =>
          name.startsWith(a) && name.endsWith(z) && isWord(name.slice(a.length, -z.length)),
      );
    const named = (text: string): string[] =>
      captures(/`([a-z]\w*(?:\{[\w,]+\}\w*)?_total)`/g)(text).flatMap(expand);
    expect(documents.flatMap((path) => named(read(path))).length).toBeGreaterThan(20);
    expect(faultsIn(documents, named, isCounted)).toEqual([]);
  });

  it('have endpoints dial the port of the example configuration', () => {
    const port = /listen: 10\.0\.0\.1:(\d+)/.exec(read('deploy/access-point.yaml'))?.[1];
    expect(port).toBeDefined();
    const named = captures(/"?10\.0\.0\.1"?(?::|, "port": )(\d+)/g);
    expect(faultsIn(documents, named, (other) => other === port)).toEqual([]);
  });

  it('give commands that exist, with options that they have', async () => {
    const program = await everyCommand();
    const fences = captures(/^```\w*\n([^]*?)^```/gm);
    const inline = captures(/`(restitch [a-z][^`\n]*)`/g);
    const lines = (text: string): string[] => [
      ...inline(text),
      ...fences(text).flatMap(captures(/^(?:npx )?(restitch [a-z].*)/gm)),
    ];
    expect(documents.flatMap((path) => lines(read(path))).length).toBeGreaterThan(40);
    expect(faultsIn(documents, lines, (line) => isCommand(program, line.split(/\s+/).slice(1)))).toEqual([]);
  });
});

describe('comments', () => {
  it('name documents and tests that are there', () => {
    const names = captures(/\b([\w-]+\.(?:md|test\.ts))\b/g);
    const known = new Set(files.map((path) => basename(path)));
    expect(faultsIn(sources, names, (name) => known.has(name))).toEqual([]);
  });

  it('name tests of their own package, where they give no path', () => {
    const names = captures(/(?<![\w/.-])([\w-]+\.test\.ts)\b/g);
    const isHere = (name: string, path: string): boolean => {
      const home = path.split('/').slice(0, 2).join('/');
      return files.some((other) => other.startsWith(`${home}/`) && basename(other) === name);
    };
    expect(faultsIn(sources, names, isHere)).toEqual([]);
  });
});

/** `a_{x,y}_total` as two names. */
function expand(name: string): string[] {
  const [, before = '', choices, behind = ''] = /^(\w*)\{([\w,]+)\}(\w*)$/.exec(name) ?? [];
  return choices === undefined ? [name] : choices.split(',').map((choice) => before + choice + behind);
}

async function everyCommand(): Promise<Command> {
  const program = new Command('restitch');
  registerOperateCommands(program);
  registerPkiCommands(program);
  registerHostCommands(program);
  registerAgentCommands(program);
  registerForgetCommand(registerAnalyticsCommands(program));
  registerCheckCommands(program);
  program.command('completion');
  for (const name of ['lab', 'demo', 'bench'] as const) await mountLab(program, name);
  return program;
}

/** Names down to a command, as far as there are commands below, then its options; what stands behind ` -- ` or a `#` is another's. */
function isCommand(program: Command, words: readonly string[]): boolean {
  let command = program;
  let depth = 0;
  while (command.commands.length > 0 && /^[a-z][a-z-]*$/.test(words[depth] ?? '')) {
    const next = command.commands.find((c) => c.name() === words[depth]);
    if (next === undefined) return false;
    command = next;
    depth++;
  }
  const end = words.findIndex((word) => word === '--' || word === '#' || word === ';');
  const options = words
    .slice(depth, end < 0 ? undefined : end)
    .flatMap((word) => /^\[?(--[a-z][\w-]*)/.exec(word)?.[1] ?? []);
  return options.every((option) => command.options.some((o) => o.long === option));
}
