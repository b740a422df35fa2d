/** Clients against servers of this process: what they call an end. */
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { serveTail, type TailCommand } from '../apps/tail-app.js';
import { patternAt } from '../clients/pattern.js';
import type { ClientLife } from './client-life.js';
import { createLife } from './create-life.js';
import { type LifeKind, lifeKinds, type LifeRecord } from './life-kinds.js';
import { planLife } from './life-plan.js';
import { RawConnection } from './raw-connection.js';

const open = new Set<Server>();
afterEach(() => {
  for (const server of open) server.close();
  open.clear();
});

type Handler = (socket: Socket) => void;

async function listen(handler: Handler): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    handler(socket);
  });
  open.add(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

async function play(kind: LifeKind, handler: Handler): Promise<LifeRecord> {
  const life: ClientLife = createLife({
    kind,
    tag: 't.0',
    address: '127.0.0.1',
    port: await listen(handler),
    plan: { ...planLife(kind, 't', 0, 3), stayMs: 100, tailBytes: 20_000, totalBytes: 160_000 },
    isHurried: () => false,
  });
  while (!life.isOver) {
    life.step();
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return life.record();
}

/** A server that is asked for its stream and sends what `bend` makes of it. */
function serveBent(bend: (stream: Buffer) => Buffer, end: (socket: Socket) => void): Handler {
  return (socket) => {
    socket.once('data', (line: Buffer) => {
      const { base, bytes } = JSON.parse(line.toString()) as TailCommand;
      socket.write(bend(Buffer.from(patternAt(base, bytes))), () => end(socket));
    });
    socket.resume();
  };
}

describe('a phase client', () => {
  // It takes a socket for a session: all that the application uses is there, but its state.
  const serveWhole: Handler = (socket) => serveTail(Object.assign(socket, { state: null }) as never);

  it.each(lifeKinds.filter((kind) => kind !== 'vanisher'))(
    'of kind %s is served by the application',
    async (kind) => {
      const record = await play(kind, serveWhole);
      expect(['complete', 'ended']).toContain(record.end);
      expect(record).toMatchObject({ lostBytes: 0, doubledBytes: 0, wrongBytes: 0 });
      expect(record.silentMs).toBeLessThan(2000);
    },
  );

  it('takes an end before its time for an early one, with what is missing', async () => {
    const half = serveBent(
      (stream) => stream.subarray(0, 100_000),
      (socket) => socket.end(),
    );
    const { end, lostBytes } = await play('slow-reader', half);
    expect(end).toBe('early-eof');
    expect(lostBytes).toBe(60_000);
  });

  it('takes a reset for a reset, wherever it comes', async () => {
    for (const bytes of [100_000, 160_000]) {
      const { end, lostBytes } = await play(
        'slow-reader',
        serveBent(
          (stream) => stream.subarray(0, bytes),
          (socket) => setTimeout(() => socket.resetAndDestroy(), 50),
        ),
      );
      expect({ end, lostBytes }).toEqual({ end: 'reset', lostBytes: 0 });
    }
  });

  it('finds a byte that comes twice, and one that is missing', async () => {
    const bent = async (bend: (stream: Buffer) => Buffer): Promise<LifeRecord> =>
      play(
        'slow-reader',
        serveBent(bend, (socket) => socket.end()),
      );
    const twice = await bent((s) => Buffer.concat([s.subarray(0, 80_000), s.subarray(79_999)]));
    expect(twice).toMatchObject({ end: 'complete', doubledBytes: 1, lostBytes: 0, wrongBytes: 0 });
    const missing = await bent((s) => Buffer.concat([s.subarray(0, 80_000), s.subarray(80_001)]));
    expect(missing).toMatchObject({ end: 'complete', doubledBytes: 0, lostBytes: 1, wrongBytes: 0 });
  });

  it('says that it was refused where nobody listens', async () => {
    const port = await listen(() => undefined);
    for (const server of open) await new Promise((resolve) => server.close(resolve));
    open.clear();
    const life = createLife({
      kind: 'connect-burst',
      tag: 't.0',
      address: '127.0.0.1',
      port,
      plan: planLife('connect-burst', 't', 0, 1),
      isHurried: () => false,
    });
    while (!life.isOver) life.step();
    expect(life.record()).toMatchObject({ end: 'refused', error: 'ECONNREFUSED' });
  });
});

it('who only waits for acknowledgements sees a reset', async () => {
  const port = await listen((socket) => socket.once('data', () => socket.resetAndDestroy()));
  const connection = new RawConnection({ address: '127.0.0.1', port });
  while (!connection.isConnected) {
    connection.pollConnected();
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  connection.write(Buffer.from('x'));
  for (let i = 0; i < 500 && connection.error === undefined; i++) {
    void connection.unacknowledged;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  expect(connection.error).toBe('ECONNRESET');
  connection.close();
});
