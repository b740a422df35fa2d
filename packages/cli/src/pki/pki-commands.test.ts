import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { registerPkiCommands } from './pki-commands.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'restitch-pki-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

async function codeOf(run: () => Promise<unknown>): Promise<string> {
  return run().then(
    () => 'done',
    (error: { code: string }) => error.code,
  );
}

describe('restitch pki', () => {
  async function run(...args: string[]): Promise<string> {
    let out = '';
    const program = new Command('restitch').exitOverride().configureOutput({ writeErr: () => undefined });
    registerPkiCommands(program, { out: (text) => void (out += text) });
    await program.parseAsync(args, { from: 'user' });
    return out;
  }

  it('makes an authority and certificates, as text and as JSON', async () => {
    const made = JSON.parse(await run('pki', 'init', '--dir', directory, '--cluster', 'lab', '--json'));
    expect(made).toEqual({ cluster: 'lab', directory, caFile: join(directory, 'ca.crt') });
    const issued = JSON.parse(await run('pki', 'issue', 'endpoint', 'a', '--dir', directory, '--json'));
    expect(issued).toMatchObject({ role: 'endpoint', name: 'a', keyFile: join(directory, 'endpoint-a.key') });
    expect(await run('pki', 'issue', 'endpoint', 'a', '--dir', directory, '--force')).toContain('issued');
  });

  it.each([
    ['an unknown role', ['pki', 'issue', 'root', 'a', '--dir', 'DIR'], 'commander.invalidArgument'],
    ['days that are none', ['pki', 'issue', 'endpoint', 'a', '--dir', 'DIR', '--days', 'soon'], 'usage'],
  ])('refuses %s', async (_what, args, code) => {
    await run('pki', 'init', '--dir', directory);
    expect(await codeOf(() => run(...args.map((a) => (a === 'DIR' ? directory : a))))).toBe(code);
    expect(existsSync(join(directory, 'endpoint-a.key'))).toBe(false);
  });
});
