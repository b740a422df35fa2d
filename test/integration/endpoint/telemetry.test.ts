/** Telemetry of real endpoint processes over real connections: nothing a client did is missing, wherever it was served. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { type Telemetry, readTelemetry } from '@restitch/wire/internal';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EndpointName } from '../two-endpoints.js';
import { World } from './world.js';

let world: World;
const heard: Record<EndpointName, Telemetry[]> = { a: [], b: [] };

beforeAll(async () => {
  world = await World.open();
  world.accessPoint.telemetry = { periodMs: 100, maxSessions: 64 };
  for (const name of ['a', 'b'] as const) {
    await world.start(name);
    const peer = await world.accessPoint.peer(name, 4);
    void (async () => {
      for (;;) heard[name].push(readTelemetry(await peer.event('telemetry')));
    })();
  }
}, 60_000);

afterAll(() => world.close());

async function echo(client: Socket, text: string): Promise<void> {
  client.write(text);
  for (let got = 0; got < text.length; ) {
    const [chunk] = (await once(client, 'data')) as [Buffer];
    got += chunk.length;
  }
}

/** Two whole periods after now have been told. */
async function nextPeriods(name: EndpointName): Promise<void> {
  const from = heard[name].length;
  while (heard[name].length < from + 3) await new Promise((resolve) => setTimeout(resolve, 20));
}

function sumOf(name: EndpointName, id: string): { requests: number; bytesIn: number; bytesOut: number } {
  const sum = { requests: 0, bytesIn: 0, bytesOut: 0 };
  for (const row of heard[name].flatMap((t) => t.sessions)) {
    if (row.id !== id) continue;
    sum.requests += row.requests;
    sum.bytesIn += row.bytesIn;
    sum.bytesOut += row.bytesOut;
  }
  return sum;
}

describe('telemetry of an endpoint', () => {
  it('has every request and byte of a session, before its move and after it', async () => {
    const { client, report } = await world.open('echo');
    for (let i = 0; i < 20; i++) await echo(client, 'x'.repeat(100));
    await nextPeriods('a');
    expect(sumOf('a', report.id)).toEqual({ requests: 20, bytesIn: 2000, bytesOut: 2000 });
    await world.move(report, 'a', 'b');
    for (let i = 0; i < 10; i++) await echo(client, 'y'.repeat(50));
    await nextPeriods('b');
    await nextPeriods('a');
    expect(sumOf('b', report.id)).toEqual({ requests: 10, bytesIn: 500, bytesOut: 500 });
    expect(sumOf('a', report.id)).toEqual({ requests: 20, bytesIn: 2000, bytesOut: 2000 });
    expect(heard.b.at(-1)?.total).toBe(1);
    expect(heard.a.at(-1)?.total).toBe(0);
    world.net.steer('a');
  }, 30_000);

  it('says how its process, host and namespace are, one message a period, numbered', async () => {
    await nextPeriods('a');
    const last = heard.a.at(-1);
    expect(Object.keys(last?.metrics ?? {})).toEqual(
      expect.arrayContaining([
        'cpuRatio',
        'cpuLimitCores',
        'hostCpuRatio',
        'memoryRatio',
        'eventLoopDelayMs',
        'sessions',
        'acceptOverflows',
      ]),
    );
    expect(heard.a.map((t) => t.seq)).toEqual(heard.a.map((_, i) => i + 1));
    expect(heard.a.every((t) => t.refused === 0)).toBe(true);
  }, 30_000);

  it('has room for no more than was asked for, and comes to every session in turn', async () => {
    const sessions = await Promise.all(Array.from({ length: 100 }, () => world.connect('idle')));
    await nextPeriods('a');
    const from = heard.a.length;
    while (heard.a.length < from + 20) await new Promise((resolve) => setTimeout(resolve, 50));
    const later = heard.a.slice(from);
    expect(later.every((t) => t.sessions.length <= 64 && t.total === 100)).toBe(true);
    expect(new Set(later.flatMap((t) => t.sessions.map((s) => s.id))).size).toBe(100);
    for (const socket of sessions) socket.destroy();
  }, 30_000);
});
