import { once } from 'node:events';
import { type AddressInfo, type Socket, connect, createServer } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { SocketCarrier, adoptSocket } from './socket-carrier.js';
import { Session } from './session.js';
import type { ResumedInit } from './session-init.js';

const flow = {
  client: { address: '127.0.0.1', port: 1 },
  vip: { address: '127.0.0.1', port: 2 },
};
const open: Array<{ destroy(): void }> = [];

afterEach(() => {
  for (const stream of open.splice(0)) stream.destroy();
});

function newSession(allowHalfOpen: boolean, resumed?: ResumedInit): Session {
  const session = new Session({
    id: 's1',
    epoch: 1,
    listener: 'echo',
    flow,
    allowHalfOpen,
    openedAtMs: 0,
    ...(resumed === undefined ? {} : { resumed }),
  });
  open.push(session);
  return session;
}

/** A client socket and the session that serves it. */
async function connectSession(allowHalfOpen = true): Promise<{ client: Socket; session: Session }> {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect({
    port: (server.address() as AddressInfo).port,
    host: '127.0.0.1',
    allowHalfOpen: true,
  });
  open.push(client);
  const [accepted] = (await once(server, 'connection')) as [Socket];
  server.close();
  const session = newSession(allowHalfOpen);
  session.attach(new SocketCarrier(accepted, session.carrierEvents));
  return { client, session };
}

/** The session goes on as another object, as on a target; kernel state stays in the descriptor. */
function moveSession(session: Session, allowHalfOpen = true): Session {
  const half = session.freeze();
  const next = newSession(allowHalfOpen, {
    reason: 'move',
    state: session.state,
    moves: session.moves + 1,
    bytesRead: session.bytesRead,
    bytesWritten: session.bytesWritten,
    inputEnded: half.inputEnded,
    outputEnded: half.outputEnded,
  });
  next.prime(half.unread, half.unwritten.length > 0 ? [half.unwritten] : [], half.outputEnded);
  next.attach(new SocketCarrier(adoptSocket(half.fd), next.carrierEvents));
  session.leave('other');
  return next;
}

/** The session goes on as the same object. */
function revertSession(session: Session): void {
  const half = session.freeze();
  session.attach(new SocketCarrier(adoptSocket(half.fd), session.carrierEvents));
}

// A prime length, so that no chunk boundary repeats it.
const cycle = Buffer.from(Array.from({ length: 65_521 }, (_, i) => (i * 31 + (i >> 8)) & 0xff));

function pattern(length: number, offset = 0): Buffer {
  const start = offset % cycle.length;
  return Buffer.concat([cycle.subarray(start), Buffer.alloc(length, cycle)]).subarray(0, length);
}

/** Not toEqual: it compares element by element, seconds for megabytes. */
function expectPattern(bytes: Buffer, length: number): void {
  expect(bytes.length).toBe(length);
  expect(bytes.equals(pattern(length))).toBe(true);
}

async function readAll(stream: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

async function closed(session: Session): Promise<void> {
  if (!session.closed) await once(session, 'close');
}

describe('a session', () => {
  it('gives bytes that were read but not consumed to the next session, once', async () => {
    const { client, session } = await connectSession();
    client.write(pattern(100_000));
    await once(session, 'readable');
    const first = session.read(10) as Buffer;
    session.unshift(first.subarray(4));
    const second = moveSession(session);
    client.end();
    const rest = await readAll(second);
    expectPattern(Buffer.concat([first.subarray(0, 4), rest]), 100_000);
    expect(second.bytesRead).toBe(100_000);
  });

  it('carries what was written and not sent, and the end behind it', async () => {
    const { client, session } = await connectSession();
    const done: number[] = [];
    for (let i = 0; i < 40; i++) session.write(pattern(200_000, i * 200_000), () => done.push(i));
    session.end();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const next = moveSession(session);
    client.resume();
    expectPattern(await readAll(client), 8_000_000);
    expect(next.bytesWritten).toBe(8_000_000);
    expect(done).toEqual([...Array(40).keys()]);
  });

  it('keeps back-pressure over a revert: callbacks run when the kernel has the bytes', async () => {
    const { client, session } = await connectSession();
    let callbacks = 0;
    for (let i = 0; i < 100; i++) session.write(pattern(200_000, i * 200_000), () => callbacks++);
    session.end();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(callbacks).toBeLessThan(100);
    revertSession(session);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(session.writableFinished).toBe(false);
    expectPattern(await readAll(client), 20_000_000);
    expect(callbacks).toBe(100);
    if (!session.writableFinished) await once(session, 'finish');
  });

  it('takes a write made in a callback that the freeze runs', async () => {
    const { client, session } = await connectSession();
    session.write(pattern(20_000_000), () => {
      session.write('late ');
      session.end('end');
    });
    session.write('buffered ');
    await new Promise((resolve) => setTimeout(resolve, 20));
    moveSession(session);
    const got = await readAll(client);
    expect(got.subarray(20_000_000).toString()).toBe('buffered late end');
  });

  it('signals an end that the application has seen on one side only', async () => {
    const { client, session } = await connectSession();
    const ends: string[] = [];
    session.on('end', () => ends.push('source')).resume();
    client.end('bye');
    await once(session, 'end');
    const next = moveSession(session);
    next.on('end', () => ends.push('target')).resume();
    next.end('answer');
    expect((await readAll(client)).toString()).toBe('answer');
    await closed(next);
    expect(ends).toEqual(['source']);
  });

  it('signals an end that the application has not seen to the next session', async () => {
    const { client, session } = await connectSession();
    client.end('bye');
    await new Promise((resolve) => setTimeout(resolve, 20));
    const next = moveSession(session);
    expect((await readAll(next)).toString()).toBe('bye');
    next.end();
    await closed(next);
  });

  it("answers the client's end with its own unless it allows half-open", async () => {
    const { client, session } = await connectSession(false);
    const next = moveSession(session, false);
    next.resume();
    client.end();
    expect((await readAll(client)).length).toBe(0);
    await closed(next);
  });

  it('keeps what the client sent before it closed, until the application reads it', async () => {
    const { client, session } = await connectSession();
    session.end();
    client.end(pattern(5000));
    client.resume();
    await once(client, 'close');
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(session.phase).toBe('closed');
    expectPattern(await readAll(session), 5000);
  });

  it('surfaces a reset as net.Socket does', async () => {
    const { client, session } = await connectSession();
    revertSession(session);
    const failed = once(session, 'error');
    session.resume();
    client.resetAndDestroy();
    const [error] = (await failed) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNRESET');
    await closed(session);
  });

  it('refuses state that cannot travel where it is set', () => {
    const session = newSession(false);
    expect(() => {
      session.state = { f: (() => 1) as unknown as string };
    }).toThrow(/session\.state\.f holds a function/);
    session.state = { n: 1, b: new Uint8Array(2), list: [null, 'x', { deep: true }] };
  });

  it('is pinned by setEncoding and says so', async () => {
    const { session } = await connectSession();
    session.setEncoding('utf8');
    expect(session.pinned).toMatch(/setEncoding/);
    session.unpin();
    expect(session.pinned).toMatch(/setEncoding/);
  });

  it('loses and doubles nothing in random interleavings of reads, writes, freezes and moves', async () => {
    const step = fc.oneof(
      fc.record({ t: fc.constant('client-write' as const), bytes: fc.integer({ min: 1, max: 200_000 }) }),
      fc.record({ t: fc.constant('server-write' as const), bytes: fc.integer({ min: 1, max: 400_000 }) }),
      fc.record({ t: fc.constant('server-read' as const), bytes: fc.integer({ min: 1, max: 100_000 }) }),
      fc.record({ t: fc.constant('client-read' as const), bytes: fc.integer({ min: 1, max: 400_000 }) }),
      fc.record({ t: fc.constant('server-unshift' as const), bytes: fc.integer({ min: 1, max: 1000 }) }),
      fc.constant({ t: 'move' as const }),
      fc.constant({ t: 'revert' as const }),
      fc.constant({ t: 'turn' as const }),
      fc.constant({ t: 'client-end' as const }),
      fc.constant({ t: 'server-end' as const }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        const { client, session: first } = await connectSession();
        let session = first;
        const up = { sent: 0, got: [] as Buffer[] };
        const down = { sent: 0, got: [] as Buffer[] };
        for (const s of steps) {
          if (s.t === 'client-write' && !client.writableEnded) {
            client.write(pattern(s.bytes, up.sent));
            up.sent += s.bytes;
          } else if (s.t === 'server-write' && session.writable) {
            session.write(pattern(s.bytes, down.sent));
            down.sent += s.bytes;
          } else if (s.t === 'server-read') {
            const got = session.read(Math.min(s.bytes, session.readableLength)) as Buffer | null;
            if (got !== null) up.got.push(got);
          } else if (s.t === 'client-read') {
            const got = client.read(Math.min(s.bytes, client.readableLength)) as Buffer | null;
            if (got !== null) down.got.push(got);
          } else if (s.t === 'server-unshift' && session.readable) {
            const all = Buffer.concat(up.got);
            const back = Math.min(s.bytes, all.length);
            if (back > 0) {
              up.got = [all.subarray(0, all.length - back)];
              session.unshift(all.subarray(all.length - back));
            }
          } else if (s.t === 'move' && session.phase === 'live') session = moveSession(session);
          else if (s.t === 'revert' && session.phase === 'live') revertSession(session);
          else if (s.t === 'client-end') client.end();
          else if (s.t === 'server-end' && session.writable) session.end();
          if (s.t === 'turn') await new Promise((resolve) => setTimeout(resolve, 1));
        }
        client.end();
        if (session.writable) session.end();
        const rest = [
          session.readableEnded || !session.readable ? Buffer.alloc(0) : readAll(session),
          client.readableEnded ? Buffer.alloc(0) : readAll(client),
        ];
        const [upRest, downRest] = await Promise.all(rest);
        const upAll = Buffer.concat([...up.got, upRest as Buffer]);
        const downAll = Buffer.concat([...down.got, downRest as Buffer]);
        expectPattern(upAll, up.sent);
        expectPattern(downAll, down.sent);
      }),
      { numRuns: 60 },
    );
  });
});
