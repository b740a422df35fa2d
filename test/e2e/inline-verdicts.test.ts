/** A session asks at its safe point whether to go on elsewhere: real daemon, real endpoints, real packets. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { openAdminClient } from '@restitch/access-point';
import type { AdminCall } from '@restitch/wire';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LabAdmin } from '../../packages/lab/src/lab/lab-admin.js';
import { adminSocketOf } from '../../packages/lab/src/lab/lab-config.js';
import type { Lab } from '../../packages/lab/src/lab/lab.js';
import { openLab } from '../../packages/lab/src/lab/open-lab.js';
import { signalProcess } from '../../packages/lab/src/lab/process-identity.js';
import { accessPointName, awaitHealthy } from '../../packages/lab/src/lab/start-parties.js';

const sessions = 10;
const port = 7300;
let lab: Lab;
let clients: Clients;
let admin: LabAdmin;

/** Connections of one process in the client's namespace: a line in, a line out, for each. */
class Clients {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (line: string) => void>();
  readonly trouble: string[] = [];
  #n = 0;

  constructor(host: string) {
    const program = `
      const sockets = [];
      require('node:readline').createInterface({ input: process.stdin }).on('line', (text) => {
        const { i, line } = JSON.parse(text);
        if (sockets[i] === undefined) {
          sockets[i] = require('node:net').connect(${port}, '${host}');
          let rest = '';
          sockets[i].on('data', (bytes) => {
            const lines = (rest + bytes).split('\\n');
            rest = lines.pop();
            for (const answer of lines) console.log(JSON.stringify({ i, answer }));
          });
          for (const what of ['error', 'end']) sockets[i].on(what, (e) => console.log(JSON.stringify({ i, trouble: what + ' ' + e })));
        }
        sockets[i].write(line + '\\n');
      });`;
    const args = [`--net=/run/netns/${lab.plan.client.namespace}`, '--', process.execPath, '-e', program];
    this.#child = spawn('nsenter', args, { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface({ input: this.#child.stdout! }).on('line', (text) => {
      const { i, answer, trouble } = JSON.parse(text) as { i: number; answer?: string; trouble?: string };
      if (answer === undefined) this.trouble.push(`${i}: ${trouble}`);
      else this.#waiting.get(i)?.(answer);
    });
  }

  /** Sends `WHAT n` on connection `i` and resolves with what is answered after the same `n`. */
  async ask(i: number, what: string): Promise<string> {
    const n = String(++this.#n);
    const answer = await Promise.race([
      new Promise<string>((resolve) => {
        this.#waiting.set(i, resolve);
        this.#child.stdin!.write(`${JSON.stringify({ i, line: `${what} ${n}` })}\n`);
      }),
      sleep(20_000).then(() => `no answer ${this.trouble.join()}`),
    ]);
    expect(answer.split(' ')[0], `${what} on ${i}: ${answer}`).toBe(n);
    return answer.slice(n.length + 1);
  }

  all(what: string): Promise<string[]> {
    return Promise.all(Array.from({ length: sessions }, (_, i) => this.ask(i, what)));
  }

  close(): void {
    this.#child.kill();
  }
}

function signal(name: string, what: NodeJS.Signals): void {
  const found = lab.findProcess(name);
  if (found === undefined) throw new Error(`no process ${name}`);
  signalProcess(found, what);
}

const at = async (name: string): Promise<number> =>
  (await admin.sessions()).filter((s) => s.endpoint === name).length;

/** An endpoint answers its client without waiting for the access point, which hears of the session on another way. */
async function untilAllAreAt(name: string): Promise<void> {
  for (let i = 0; i < 200 && (await at(name)) < sessions; i++) await sleep(50);
  expect(await at(name)).toBe(sessions);
}

beforeAll(async () => {
  lab = await openLab(
    {
      endpoints: 2,
      ipv6: false,
      rttMs: 0,
      lossRatio: 0,
      isKept: false,
      listeners: [{ name: 'asking', application: 'asking', port, level: 'none', weights: { a: 100, b: 0 } }],
      moves: { endpointConcurrency: 1 },
      analytics: { mode: 'act', period: '500ms', horizons: ['2s', '5s'], ramp: '0s' },
    },
    (text) => process.stderr.write(`${text}\n`),
  );
  admin = await LabAdmin.open(lab.plan);
  clients = new Clients(lab.plan.vipIpv4);
}, 90_000);

afterAll(async () => {
  clients?.close();
  admin?.close();
  await lab?.down();
}, 30_000);

it('a move that fails leaves the request where it is', async () => {
  expect(await clients.all('GET')).toEqual(Array.from({ length: sessions }, () => 'here'));
  await untilAllAreAt('a');
  signal('b', 'SIGSTOP');
  try {
    expect(await clients.ask(0, 'TO b')).toMatch(/^here stayed /);
  } finally {
    signal('b', 'SIGCONT');
  }
  await untilAllAreAt('a');
  await awaitHealthy(lab, ['a', 'b']);
}, 60_000);

it('a verdict is read locally, and one that nobody renews means stay', async () => {
  await admin.notice('a', 300_000);
  const isTold = async (): Promise<boolean> => (await clients.all('VERDICT')).includes('true b');
  for (let i = 0; i < 100 && !(await isTold()); i++) await sleep(100);
  expect(await isTold()).toBe(true);
  signal(accessPointName, 'SIGSTOP');
  try {
    for (let i = 0; i < 100 && (await isTold()); i++) await sleep(100);
    expect(await clients.all('VERDICT')).toEqual(Array.from({ length: sessions }, () => 'false -'));
    expect(await clients.all('GET')).toEqual(Array.from({ length: sessions }, () => 'here'));
  } finally {
    signal(accessPointName, 'SIGCONT');
  }
}, 60_000);

it('sessions that ask at their safe point go where the verdict says, and answer there', async () => {
  await awaitHealthy(lab, ['a', 'b']);
  const { lastSeq } = (await admin.status()).moves;
  let moved = 0;
  for (let i = 0; i < 300 && (await at('b')) < sessions; i++) {
    moved += (await clients.all('GET')).filter((answer) => answer === 'moved').length;
    await sleep(50);
  }
  expect(await at('b')).toBe(sessions);
  const { counters } = await admin.status();
  expect(moved).toBeGreaterThan(0);
  expect(counters['analytics_self_moves_committed_total']).toBeGreaterThan(0);
  // One move each, whether the plan's turn or the session's own ask came first.
  const begun = (await admin.moves(lastSeq)).filter(({ outcome }) => outcome === 'committed');
  expect(begun.length).toBe(sessions);
  expect(new Set(begun.map(({ origin }) => origin))).not.toContain('manual');
  expect(await clients.all('GET')).toEqual(Array.from({ length: sessions }, () => 'here'));
  expect(clients.trouble).toEqual([]);
  process.stderr.write(
    `answered elsewhere ${moved}, begun by asks ${counters['moves_begun_session_total'] ?? 0}, by the plan ${counters['moves_begun_recommended_total'] ?? 0}\n`,
  );
}, 90_000);

/** One command that the laboratory itself has no use for. */
async function command(request: AdminCall): Promise<void> {
  const client = await openAdminClient(adminSocketOf(lab.plan));
  await client.call(request);
  client.close();
}

it('sessions that ask more often than moves may begin are told so at once, and answered where they are', async () => {
  const file = `${lab.plan.directory}/access-point.yaml`;
  const paced = readFileSync(file, 'utf8').replace('endpointConcurrency: 1', 'perSecond: 1');
  expect(paced).toContain('perSecond: 1');
  writeFileSync(file, paced);
  await command({ cmd: 'reload' });
  const { lastSeq } = (await admin.status()).moves;
  await command({ cmd: 'notice', endpoint: 'a', what: 'preemption', inMs: 0, cancel: true });
  await admin.notice('b', 300_000);
  const tookMs: number[] = [];
  const askAll = async (): Promise<void> => {
    const began = performance.now();
    const answers = Array.from({ length: sessions }, async (_, i) => {
      const answer = await clients.ask(i, 'GET');
      if (/^here stayed deadline_exceeded: .*moves\.perSecond/.test(answer))
        tookMs.push(performance.now() - began);
    });
    await Promise.all(answers);
  };
  const startMs = performance.now();
  for (let i = 0; i < 300 && (tookMs.length < 20 || (await at('a')) < 2); i++) {
    await askAll();
    await sleep(50);
  }
  const seconds = (performance.now() - startMs) / 1000;
  tookMs.sort((a, b) => a - b);
  expect(tookMs.length).toBeGreaterThanOrEqual(20);
  expect(tookMs[tookMs.length >> 1]).toBeLessThan(50);
  // What asks and what the plan begins keep to the rate together.
  const begun = await admin.moves(lastSeq);
  expect(begun.map(({ origin }) => origin)).not.toContain('manual');
  expect(begun.length).toBeLessThanOrEqual(Math.ceil(seconds) + 1);
  expect(clients.trouble).toEqual([]);
  process.stderr.write(
    `${tookMs.length} asks refused, median ${tookMs[tookMs.length >> 1]?.toFixed(1)} ms; ${begun.length} moves in ${seconds.toFixed(1)} s\n`,
  );
}, 60_000);
