/** The commands against a daemon that answers with what a real engine says. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { createInterface } from 'node:readline';
import { AnalyticsEngine, DEFAULT_ENGINE, engineStatus, explain } from '@restitch/analytics';
import type { EngineInput } from '@restitch/analytics';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { registerLiveCommands } from './live-commands.js';

let directory = '';
let server: Server;
let asked: { cmd: string }[] = [];
const inputs: EngineInput[] = [];
const engine = new AnalyticsEngine(DEFAULT_ENGINE);

/** Half a minute in which `a` is about to be lost. */
function live(): void {
  const names = ['a', 'b'];
  inputs.push({ kind: 'fleet', atMs: 0, endpoints: names.map((name) => ({ name, accepts: true })) });
  for (let i = 0; i < 6; i++)
    inputs.push({
      kind: 'session',
      atMs: 1,
      what: 'opened',
      session: `s${i}`,
      endpoint: 'a',
      client: '192.0.2.9',
    });
  for (let t = 1; t <= 30; t++) {
    for (const endpoint of names)
      inputs.push({
        kind: 'endpoint',
        atMs: t * 1000 - 500,
        endpoint,
        metrics: { cpuRatio: 0.3, cpuLimitCores: 2 },
      });
    if (t === 25)
      inputs.push({ kind: 'notice', atMs: 24_500, endpoint: 'a', what: 'maintenance', deadlineAtMs: 60_000 });
    inputs.push({ kind: 'tick', atMs: t * 1000 });
  }
  for (const input of inputs) engine.handle(input);
}

function answer(request: {
  cmd: string;
  name?: string;
  mode?: string;
  planId?: number;
  file?: string;
}): unknown {
  const host = {
    mode: 'shadow',
    engine: 'running',
    restarts: 0,
    moves: { given: 1, committed: 1, reverted: 0, refused: 0 },
    events: [{ atMs: 1, name: 'mode', text: 'mode off → shadow' }],
  };
  switch (request.cmd) {
    case 'analytics.status':
      return { host, engine: { ...engineStatus(engine), recording: null } };
    case 'analytics.plan':
      return { mode: 'shadow', plan: engine.lastPlan };
    case 'analytics.explain':
      return explain(engine, request.name ?? '');
    case 'analytics.mode':
      return { mode: request.mode, dropped: 3 };
    case 'analytics.accept':
      return { accepted: request.planId };
    case 'analytics.record':
      return { recording: request.file === null ? null : { file: request.file, inputs: 0, bytes: 0 } };
    case 'analytics.train':
      return { training: true };
    case 'analytics.rollback':
      return { rollingBack: true };
    default:
      return {};
  }
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'restitch-analytics-cli-'));
  live();
  server = createServer((socket) => {
    createInterface({ input: socket }).on('line', (line) => {
      const { id, request } = JSON.parse(line) as { id: number; request: { cmd: string } };
      asked.push(request);
      socket.write(`${JSON.stringify({ id, ok: answer(request) })}\n`);
    });
  });
  await new Promise<void>((resolve) => server.listen(join(directory, 'admin.sock'), resolve));
});
afterAll(async () => {
  await new Promise((resolve) => server.close(resolve));
  rmSync(directory, { recursive: true, force: true });
});

async function run(...argv: string[]): Promise<string> {
  const program = new Command('analytics').exitOverride().configureOutput({ writeErr: () => undefined });
  let out = '';
  registerLiveCommands(program, () => ({
    out: (text) => void (out += text),
    err: () => undefined,
    isTerminal: false,
    signal: new AbortController().signal,
  }));
  asked = [];
  const socket = argv[0] === 'replay' ? [] : ['--socket', join(directory, 'admin.sock')];
  await program.parseAsync([...argv, ...socket], { from: 'user' });
  return out;
}

function plot(): string {
  return join(directory, 'plot.svg');
}

describe('analytics commands', () => {
  it('status says mode, brakes, skill and each endpoint, as text, JSON and picture', async () => {
    const text = await run('status', '--plot', plot());
    expect(text).toMatch(/^mode shadow, engine running$/m);
    expect(text).toMatch(/^a +0 +0\.60 .*ends in 30 s, everything should leave$/m);
    expect(readFileSync(plot(), 'utf8')).toMatch(/^<svg .*<\/svg>\n$/s);
    expect(JSON.parse(await run('status', '--json'))).toMatchObject({ engine: { sessions: 6 } });
  });

  it('plan lists what would move, where and why', async () => {
    const text = await run('plan', '--dry-run', '--plot', plot());
    expect(text).toMatch(/^plan 30 \(show, rule predictive\): 6 moves$/m);
    expect(text).toMatch(/^s\d +a +b .*certain event in 30 s/m);
    expect(JSON.parse(await run('plan', '--json')).plan.moves).toHaveLength(6);
  });

  it('explains a session and an endpoint', async () => {
    expect(await run('explain', 's3', '--plot', plot())).toMatch(
      /event: probability 100\.0 %, 100\.0 % of the risk/,
    );
    expect(readFileSync(plot(), 'utf8')).toContain('Session s3');
    expect(await run('explain', 'a', '--plot', plot())).toMatch(/cpu in 30 s: 0\.30/);
    expect(readFileSync(plot(), 'utf8')).toContain('class="forecast"');
  });

  it('sets the mode, accepts, records, and refuses what makes no sense', async () => {
    expect(await run('mode', 'off')).toBe('mode off, 3 waiting moves dropped\n');
    await run('accept', '17');
    expect(asked).toEqual([{ cmd: 'analytics.accept', planId: 17 }]);
    await run('record', 'x.jsonl');
    expect(asked[0]).toMatchObject({ cmd: 'analytics.record', file: join(process.cwd(), 'x.jsonl') });
    await run('record', '--stop');
    expect(asked[0]).toEqual({ cmd: 'analytics.record', file: null });
    await expect(run('record')).rejects.toMatchObject({ code: 'usage' });
    await expect(run('accept', 'all')).rejects.toMatchObject({ code: 'usage' });
  });

  it('replays a recording, as it was and under another mode; a torn last line does not matter', async () => {
    const file = join(directory, 'r.jsonl');
    const head = { recording: 'restitch-analytics', version: 1, options: DEFAULT_ENGINE, isWhole: true };
    const lines = [head, ...inputs].map((line) => JSON.stringify(line)).join('\n');
    writeFileSync(file, `${lines}\n{"kind":"tic`);
    const torn = await run('replay', file);
    expect(torn).toMatch(/30 ticks, 0 moves given out$/m);
    expect(torn).toMatch(/the file is cut off: what is left of it was played$/m);
    const acting = await run('replay', file, '--mode', 'act', '--json', '--plot', plot());
    const summary = JSON.parse(acting.trimEnd().split('\n').at(-1)!);
    expect(summary).toMatchObject({ kind: 'summary', inputs: inputs.length, movesGiven: 6, isWhole: true });
    writeFileSync(file, 'no recording\n');
    await expect(run('replay', file)).rejects.toMatchObject({ code: 'usage' });
  });

  it('replays what is left of an archive, and refuses a line within that is no input, with its number', async () => {
    const file = join(directory, 'r.jsonl.gz');
    const head = { recording: 'restitch-analytics', version: 1, options: DEFAULT_ENGINE, isWhole: true };
    const lines = [head, ...inputs].map((line) => JSON.stringify(line));
    const packed = gzipSync(lines.join('\n'));
    writeFileSync(file, packed);
    expect(await run('replay', file)).not.toContain('cut off');
    writeFileSync(file, packed.subarray(0, packed.length - 20));
    expect(await run('replay', file)).toContain('the file is cut off');
    for (const bad of [
      '{"kind":"tick","atMs"',
      '{"kind":"tock","atMs":1}',
      '{"kind":"tick","atMs":null}',
      '7',
    ]) {
      writeFileSync(file, [...lines.slice(0, 5), bad, ...lines.slice(5)].join('\n'));
      await expect(run('replay', file)).rejects.toThrow(/r\.jsonl\.gz: line 6 of the recording .* head -n 5/);
    }
    writeFileSync(file, '');
    await expect(run('replay', file)).rejects.toThrow(/the recording is empty/);
  });
});
