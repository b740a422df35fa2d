/** The operate commands in process, against a daemon of a few canned answers on a real unix socket. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { registerOperateCommands } from './commands.js';

type Answer = { events?: unknown[]; ok?: unknown; error?: { code: string; message: string } };

const flow = { client: { address: '10.0.0.2', port: 4000 }, vip: { address: '10.0.0.100', port: 7000 } };
const session = {
  id: 's1',
  flow,
  endpoint: 'b',
  epoch: 1,
  openedAtMs: 1,
  moves: 1,
  pinned: null,
  move: null,
  doubt: null,
};
const move = {
  seq: 1,
  moveId: 'm1',
  sessionId: 's1',
  flow,
  source: 'a',
  target: 'b',
  fromEpoch: 0,
  epoch: 1,
  outcome: 'committed',
  unconfirmed: false,
  startedAtMs: 1000,
  holdNs: 1e9,
  switchNs: 1.0008e9,
  endedNs: 1.002e9,
  busyTries: 0,
  prepareMs: 2,
  moveMs: 0.8,
  confirmMs: 1,
  figures: { freezeUs: 20 },
  steps: [
    { state: 'reserving', atMs: 1 },
    { state: 'committed', atMs: 3.5 },
  ],
};
const endpoint = {
  name: 'a',
  id: 1,
  state: 'healthy',
  liveness: 'healthy',
  drain: 'none',
  weight: 100,
  sessions: 3,
  movesRunning: 0,
  app: { name: 'echo', version: '1' },
  instance: 'i1',
  stateAddress: { address: '10.0.0.11', port: 7500 },
  listeners: [{ name: 'main', vip: flow.vip }],
  features: ['image-1'],
  counters: {},
  dataAddress: '10.0.0.11',
  eventLoopDelayMs: 0.2,
  lastHeardAgoMs: 12,
};
const drain = {
  endpoint: 'a',
  state: 'draining',
  startedAtMs: 1,
  atStart: 2,
  moved: 1,
  ended: 0,
  left: 1,
  inMove: 0,
  movedPerSec: 5,
  etaMs: null,
  stuck: [{ code: 'session_pinned', sessions: 1, example: { sessionId: 's1', reason: 'holds a lock' } }],
  deadlineAtMs: 9,
  onDeadline: 'wait',
  isDeadlinePassed: false,
};

let directory = '';
let server: Server;
let answers: Record<string, Answer> = {};
let asked: Array<Record<string, unknown>> = [];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'restitch-cli-'));
  asked = [];
  server = createServer((socket) => {
    createInterface({ input: socket }).on('line', (line) => {
      const { id, request } = JSON.parse(line) as { id: number; request: { cmd: string } };
      asked.push(request);
      const answer = answers[request.cmd] ?? { error: { code: 'internal', message: 'no answer' } };
      for (const event of answer.events ?? []) socket.write(`${JSON.stringify({ id, event })}\n`);
      socket.write(`${JSON.stringify(answer.error ? { id, error: answer.error } : { id, ok: answer.ok })}\n`);
    });
  });
  await new Promise<void>((resolve) => server.listen(join(directory, 'admin.sock'), resolve));
});
afterEach(async () => {
  await new Promise((resolve) => server.close(resolve));
  rmSync(directory, { recursive: true, force: true });
  process.exitCode = undefined;
});

async function run(...argv: string[]): Promise<{ out: string; err: string; exitCode: unknown }> {
  const program = new Command('restitch').exitOverride().configureOutput({ writeErr: () => undefined });
  let out = '';
  let err = '';
  registerOperateCommands(program, () => ({
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    isTerminal: false,
    signal: new AbortController().signal,
  }));
  process.exitCode = undefined;
  await program.parseAsync([...argv, '--socket', join(directory, 'admin.sock')], { from: 'user' });
  return { out, err, exitCode: process.exitCode };
}

describe('endpoint list', () => {
  it('prints a table, or one object a line', async () => {
    answers = { endpoints: { ok: [endpoint, { ...endpoint, name: 'b', lastHeardAgoMs: null, app: null }] } };
    const table = await run('endpoint', 'list');
    expect(table.out.split('\n')[0]).toMatch(/^NAME +STATE +SESSIONS/);
    expect(table.out).toMatch(/^a +healthy +3/m);
    expect(table.exitCode).toBeUndefined();
    const json = await run('endpoint', 'list', '--json');
    expect(
      json.out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).name),
    ).toEqual(['a', 'b']);
  });

  it('exits with 3 when one is not well', async () => {
    answers = { endpoints: { ok: [endpoint, { ...endpoint, state: 'suspect' }] } };
    expect((await run('endpoint', 'list')).exitCode).toBe(3);
  });
});

describe('endpoint drain', () => {
  it('shows progress on standard error and the end on standard output', async () => {
    const drained = { ...drain, state: 'drained', moved: 2, left: 0, stuck: [], etaMs: 0 };
    answers = { drain: { events: [drain, drain], ok: drained } };
    const { out, err } = await run('endpoint', 'drain', 'a', '--deadline', '90s', '--on-deadline', 'reset');
    expect(asked[0]).toEqual({
      cmd: 'drain',
      endpoint: 'a',
      watch: true,
      deadlineMs: 90_000,
      onDeadline: 'reset',
    });
    expect(err).toBe(
      'a: 1 left, 1 moved, 0 ended, 5/s, no end in sight, stuck: 1 session_pinned (holds a lock)\n',
    );
    expect(out).toBe('a is drained: 2 moved, 0 ended by themselves\n');
  });

  it('says what it waits for when no session is left', async () => {
    const waiting = { ...drain, left: 0, etaMs: 0, stuck: [], residue: { sockets: 3, bytes: 74_201 } };
    const example = { sessionId: '', reason: 'waits for 1 socket with 1 byte to be acknowledged' };
    const standing = {
      ...waiting,
      residue: { sockets: 1, bytes: 1 },
      stuck: [{ code: 'residue', sessions: 1, example }],
    };
    const reason =
      'a is older than this access point and cannot say what its sockets still owe their clients';
    const unknown = { ...waiting, residue: null };
    const old = {
      ...unknown,
      stuck: [{ code: 'version_unsupported', sessions: 0, example: { sessionId: '', reason } }],
    };
    const closing = { ...drain, closing: 1, stuck: [] };
    answers = {
      drain: { events: [closing, waiting, standing, unknown, old], ok: { ...old, isDeadlinePassed: true } },
    };
    const { out, err, exitCode } = await run('endpoint', 'drain', 'a');
    expect(err.trimEnd().split('\n')).toEqual([
      'a: 1 left (1 closing), 1 moved, 0 ended, 5/s, no end in sight',
      'a: 0 left, 1 moved, 0 ended, 5/s, waits for 3 sockets with 74201 bytes',
      'a: 0 left, 1 moved, 0 ended, 5/s, waits for 1 socket with 1 byte',
      'a: 0 left, 1 moved, 0 ended, 5/s, waits for its word that nothing is owed to any client',
      `a: 0 left, 1 moved, 0 ended, 5/s, waits for its word that nothing is owed to any client, stuck: version_unsupported (${reason})`,
    ]);
    expect(out).toBe(
      'a waits for its word that nothing is owed to any client: 1 moved, 0 ended by themselves\n',
    );
    expect(exitCode).toBe(3);
  });

  it('undone says whether new flows come again', async () => {
    answers = { undrain: { ok: endpoint } };
    expect((await run('endpoint', 'undrain', 'a')).out).toBe('a is healthy and takes new flows\n');
    const draining = { ...drain, isLeaving: true };
    answers = { undrain: { ok: { ...endpoint, state: 'draining', draining } } };
    expect((await run('endpoint', 'undrain', 'a')).out).toBe(
      'a is draining still: its process is about to leave\n',
    );
  });

  it('exits with 3 when sessions are left behind the deadline', async () => {
    answers = { drain: { ok: { ...drain, isDeadlinePassed: true } } };
    const { out, exitCode } = await run('endpoint', 'drain', 'a', '--detach', '--json');
    expect(JSON.parse(out)).toMatchObject({ left: 1 });
    expect(exitCode).toBe(3);
  });

  it.each(['90', 's', '-1s', '1.2.3s', '5 min'])('refuses the duration %j as a usage error', async (text) => {
    await expect(run('endpoint', 'drain', 'a', '--deadline', text)).rejects.toMatchObject({
      code: 'commander.invalidArgument',
    });
  });
});

describe('session', () => {
  it('list asks page after page', async () => {
    answers = { sessions: { ok: { total: 2, sessions: [session] } } };
    const { out } = await run('session', 'list', '--json', '--endpoint', 'b');
    expect(out.trimEnd().split('\n').length).toBe(2);
    expect(asked.map((a) => [a['offset'], a['endpoint']])).toEqual([
      [0, 'b'],
      [1, 'b'],
    ]);
  });

  it('list and show tell of sessions that their applications have ended', async () => {
    const closing = { ...session, phase: 'closing', tailBytes: 74_201, isFinishing: false };
    answers = { sessions: { ok: { total: 1, sessions: [closing] } } };
    const table = (await run('session', 'list')).out.split('\n');
    expect(table[0]).toMatch(/ENDPOINT +PHASE +EPOCH/);
    expect(table[1]).toMatch(/ b +closing +1 .*74201 bytes to be acknowledged/);
    const json = await run('session', 'list', '--json');
    expect(JSON.parse(json.out)).toMatchObject({ phase: 'closing', tailBytes: 74_201 });
    const finishing = { atMs: 0, sessionId: 's1', flow, from: 'a', to: null, epoch: 0, outcome: 'finishing' };
    const takeOvers = [{ ...finishing, reason: 'the kernel of its host delivers the rest' }];
    const told = { ...closing, isFinishing: true };
    answers = { session: { ok: { session: told, record: null, moves: [], takeOvers } } };
    const { out } = await run('session', 'show', 's1');
    expect(out).toContain(
      'ended by its application; 74201 bytes to be acknowledged, delivered by the kernel: its process has ended',
    );
    expect(out).toContain(
      's1 had been ended by its application at a: the kernel of its host delivers the rest',
    );
  });

  it('of an older daemon are all live', async () => {
    answers = { sessions: { ok: { total: 1, sessions: [session] } } };
    expect((await run('session', 'list')).out).toMatch(/ b +live +1 /);
  });

  it('show tells where it is and every move with its steps', async () => {
    const record = { endpoint: 'b', epoch: 1, phase: 'active', packets: 9, bytes: 900, idleMs: 4 };
    answers = { session: { ok: { session, record, moves: [move] } } };
    const { out } = await run('session', 'show', 's1');
    expect(out).toContain('session s1: 10.0.0.2:4000 to 10.0.0.100:7000');
    expect(out).toContain('record: b, epoch 1, active; 9 packets, 900 bytes');
    expect(out).toContain('s1 a → b: committed, 0.80 ms from hold to switch');
    expect(out).toContain('+    2.500 ms  committed');
  });

  it('show tells of a session that died with all its copies, and what its client was told', async () => {
    const lost = { atMs: 0, sessionId: 's1', flow, from: 'a', to: null, epoch: 0, outcome: 'lost' };
    const takeOvers = [{ ...lost, reason: 'nobody has a replica', client: 'reset', resetMs: 12 }];
    answers = { session: { ok: { session: null, record: null, moves: [], takeOvers } } };
    const { out } = await run('session', 'show', 's1');
    expect(out).toContain('s1 lost with a: nobody has a replica, client: reset after 12');
  });

  it('migrate exits with 1 and says step and reason when the move was not committed', async () => {
    const failure = { step: 'thaw', code: 'thaw_failed', message: 'no room' };
    answers = {
      migrate: { ok: { attempts: 1, move: { ...move, outcome: 'reverted', moveMs: 0, failure } } },
    };
    const { out, exitCode } = await run('session', 'migrate', 's1', '--to', 'b', '--force');
    expect(asked[0]).toEqual({ cmd: 'migrate', id: 's1', target: 'b', force: true });
    expect(out).toBe('s1 a → b: reverted at thaw: no room (thaw_failed)\n');
    expect(exitCode).toBe(1);
  });

  it('passes the daemon`s error on with its code', async () => {
    answers = { session: { error: { code: 'unknown_session', message: 'no session x' } } };
    await expect(run('session', 'show', 'x')).rejects.toMatchObject({ code: 'unknown_session' });
  });

  it('watch prints one line for each thing that happens', async () => {
    answers = {
      watch: {
        events: [
          { t: 'opened', atMs: 0, sessionId: 's1', endpoint: 'a', flow },
          { t: 'move', atMs: 1, move },
          { t: 'ended', atMs: 2, sessionId: 's1', endpoint: 'b', reason: 'closed' },
          { t: 'endpoint', atMs: 3, endpoint: 'a', state: 'suspect', before: 'healthy' },
        ],
        ok: null,
      },
    };
    const { out } = await run('session', 'watch');
    expect(out.trimEnd().split('\n')).toEqual([
      '00:00:00.000 s1 opened at a by 10.0.0.2:4000',
      '00:00:00.001 s1 a → b: committed, 0.80 ms from hold to switch',
      '00:00:00.002 s1 ended at b: closed',
      '00:00:00.003 a was healthy, is suspect',
    ]);
  });
});

describe('without a daemon', () => {
  it('says which socket was tried', async () => {
    await new Promise((resolve) => server.close(resolve));
    await expect(run('status')).rejects.toMatchObject({
      code: 'peer_lost',
      message: expect.stringContaining('admin.sock'),
    });
    server = createServer();
    await new Promise<void>((resolve) => server.listen(join(directory, 'other.sock'), resolve));
  });
});
