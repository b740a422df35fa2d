/** A session asks at its safe point whether to go on elsewhere: real daemon, real endpoints, real packets. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LabAdmin } from '../../packages/lab/src/lab/lab-admin.js';
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
  let moved = 0;
  for (let i = 0; i < 300 && (await at('b')) < sessions; i++) {
    moved += (await clients.all('GET')).filter((answer) => answer === 'moved').length;
    await sleep(50);
  }
  expect(await at('b')).toBe(sessions);
  const { counters } = await admin.status();
  expect(moved).toBeGreaterThan(0);
  expect(counters['analytics_self_moves_committed_total']).toBeGreaterThan(0);
  expect(await clients.all('GET')).toEqual(Array.from({ length: sessions }, () => 'here'));
  expect(clients.trouble).toEqual([]);
  process.stderr.write(
    `answered elsewhere ${moved}, own moves ${counters['analytics_self_moves_committed_total']}\n`,
  );
}, 90_000);
