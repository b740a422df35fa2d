/** A session that asks for its own move at its safe point, by a verdict it reads locally. */
import type { Socket } from 'node:net';
import type { SessionReport } from '@restitch/wire/internal';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { FakePeer } from './fake-access-point.js';
import { take, until } from './streams.js';
import { type EndpointChild, World } from './world.js';

let world: World;
let a: EndpointChild;
let b: EndpointChild;
let source: FakePeer;
let client: Socket;
let report: SessionReport;
let generation = 0;

beforeAll(async () => {
  world = await World.open();
  [a, b] = await Promise.all([world.start('a'), world.start('b')]);
  source = await world.accessPoint.peer('a');
  await world.accessPoint.peer('b');
});

afterEach(() => void client.destroy());
afterAll(() => world.close());

async function open(): Promise<void> {
  world.net.steer('a');
  ({ client, report } = await world.open('echo'));
}

function tell(expiresInMs: number, sessions = [report.id]): void {
  const verdicts = sessions.map((session) => ({ session, target: 'b' }));
  source.channel.send({ t: 'verdicts', generation: ++generation, expiresInMs, verdicts, complete: true });
}

const verdict = () => a.tell<{ should: boolean; target: string | null }>('verdict', { id: report.id });

describe('a verdict', () => {
  it('is read locally, is taken back by the next list, and expires', async () => {
    await open();
    expect(await verdict()).toEqual({ should: false, target: null });
    tell(60_000);
    await until(async () => (await verdict()).should);
    expect(await verdict()).toEqual({ should: true, target: 'b' });
    tell(60_000, []);
    await until(async () => !(await verdict()).should);
    tell(300);
    await until(async () => (await verdict()).should);
    await until(async () => !(await verdict()).should);
  });
});

describe('migrate', () => {
  it('moves the session by its verdict, and says so on the object that is left behind', async () => {
    await open();
    tell(60_000);
    await until(async () => (await verdict()).should);
    const asked = a.tell('migrate', { id: report.id });
    const wanted = await source.event('wants-move');
    expect(wanted).toMatchObject({ id: report.id, target: 'b', byVerdict: true });
    await world.move(report, 'a', 'b');
    source.channel.send({ t: 'move-answer', n: wanted.n, outcome: 'committed', reason: 'committed' });
    expect(await asked).toEqual({ outcome: 'moved', target: 'b' });
    client.write('hello');
    expect(await take(client, 5)).toBe('hello');
    expect(await b.session(report.id)).toBeDefined();
  });

  it('that is refused leaves the request where it is, and the verdict is used up', async () => {
    await open();
    tell(60_000);
    await until(async () => (await verdict()).should);
    const asked = a.tell('migrate', { id: report.id });
    const { n } = await source.event('wants-move');
    source.channel.send({ t: 'move-answer', n, outcome: 'refused', reason: 'no_capacity: b is full' });
    expect(await asked).toEqual({ outcome: 'stayed', reason: 'no_capacity: b is full' });
    expect(await take(client, 11)).toBe('served here');
    expect(await verdict()).toEqual({ should: false, target: null });
  });

  it('without an answer stays after its time; without a verdict it is the application that wants it', async () => {
    await open();
    const asked = a.tell('migrate', { id: report.id, timeoutMs: 100 });
    expect(await source.event('wants-move')).toMatchObject({ id: report.id, byVerdict: false });
    expect(await asked).toMatchObject({ outcome: 'stayed' });
    expect(await take(client, 11)).toBe('served here');
  });
});
