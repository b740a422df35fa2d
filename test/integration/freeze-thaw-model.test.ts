/**
 * Random lives of a session: writes, reads, ends, moves, reverts and lost packets in any order. Whatever happened, both
 * sides end up with exactly what the other one wrote, and then the end of the stream.
 */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type RestitchError, systemClock } from '@restitch/core';
import { closeFd } from '@restitch/sys';
import { receiveBytes, sendBytes, setIntOption, shutdownSend, so, solSocket } from '@restitch/sys/internal';
import { freezeSocket, unfreezeSocket } from '../../packages/endpoint/src/tcp/index.js';
import { moveSocket, openPair, pause, waitFor } from './socket-pair.js';
import { type EndpointName, type TwoEndpoints, createTwoEndpoints } from './two-endpoints.js';

let net: TwoEndpoints;
beforeAll(() => {
  net = createTwoEndpoints();
});
afterAll(() => net?.close());

/** One side: what it has written, what waits for room, what it has read. */
class Party {
  fd: number;
  readonly written = createHash('sha256');
  readonly read = createHash('sha256');
  writtenBytes = 0;
  readBytes = 0;
  hasEnded = false;
  sawEnd = false;
  #waiting = Buffer.alloc(0);
  #isEndSent = false;
  readonly #chunk = Buffer.alloc(1 << 18);

  constructor(fd: number) {
    this.fd = fd;
  }

  write(bytes: Buffer): void {
    if (this.hasEnded) return;
    this.written.update(bytes);
    this.writtenBytes += bytes.length;
    this.#waiting = Buffer.concat([this.#waiting, bytes]);
    this.push();
  }

  /** What the old kernel had not sent goes first, and an end that waited behind it comes again. */
  adopt(fd: number, unsent: Buffer, endAfterUnsent: boolean): void {
    this.fd = fd;
    this.#waiting = Buffer.concat([unsent, this.#waiting]);
    if (endAfterUnsent) this.#isEndSent = false;
    this.push();
  }

  push(): void {
    if (this.#waiting.length > 0) this.#waiting = this.#waiting.subarray(sendBytes(this.fd, this.#waiting));
    if (!this.hasEnded || this.#isEndSent || this.#waiting.length > 0) return;
    this.#isEndSent = true;
    shutdownSend(this.fd);
  }

  end(): void {
    this.hasEnded = true;
    this.push();
  }

  take(limitBytes = Infinity): void {
    for (let done = 0; done < limitBytes && !this.sawEnd; ) {
      const got = receiveBytes(this.fd, this.#chunk.subarray(0, Math.min(this.#chunk.length, limitBytes)));
      if (got < 0) return;
      if (got === 0) this.sawEnd = true;
      this.read.update(this.#chunk.subarray(0, got));
      this.readBytes += got;
      done += got;
    }
  }
}

/** mulberry32: a seed names a life. */
function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** A socket that has ended on both sides is no session any more, and is refused. */
function unlessOver(move: () => void): void {
  try {
    move();
  } catch (error) {
    if ((error as RestitchError).code !== 'socket_unsupported') throw error;
  }
}

const firstSeed = Number(process.env['RESTITCH_SEED'] ?? systemClock.wallMs() % 1_000_000);
const lives = Array.from({ length: 10 }, (_, i) => firstSeed + i);

it.each(lives)('life %i (RESTITCH_SEED) loses and doubles nothing', async (seed) => {
  const random = createRandom(seed);
  const pair = await openPair(net, random(2) === 0 ? '4' : '6', {
    beforeConnect: (fd) => random(3) === 0 && setIntOption(fd, solSocket, so.rcvbuf, 20_000),
    beforeListen: (fd) => random(3) === 0 && setIntOption(fd, solSocket, so.rcvbuf, 30_000),
  });
  const client = new Party(pair.client);
  const server = new Party(pair.server);
  let at: EndpointName = 'a';
  const someBytes = (): Buffer => Buffer.alloc(1 + random(random(2) === 0 ? 2000 : 200_000), random(256));
  const steps: ReadonlyArray<() => void> = [
    () => client.write(someBytes()),
    () => server.write(someBytes()),
    () => client.take(random(100_000)),
    () => server.take(random(100_000)),
    () => random(4) === 0 && client.end(),
    () => random(4) === 0 && server.end(),
    () => net.steer('nowhere'),
    () => net.steer(at),
    () => unlessOver(() => unfreezeSocket(freezeSocket(server.fd).fd)),
    () =>
      unlessOver(() => {
        const to = at === 'a' ? 'b' : 'a';
        const active = moveSocket(net, server.fd, pair.flow, to);
        at = to;
        server.adopt(active.fd, active.unsent, active.endAfterUnsent);
      }),
  ];
  const isOver = (): boolean => client.sawEnd && server.sawEnd;
  for (let step = 0; step < 40 && !isOver(); step++) {
    steps[random(steps.length)]?.();
    if (random(3) === 0) await pause(random(4));
    client.push();
    server.push();
  }
  net.steer(at);
  client.end();
  server.end();
  await waitFor(() => {
    client.push();
    server.push();
    client.take();
    server.take();
    return isOver();
  }, 25_000);
  expect([client.readBytes, server.readBytes]).toEqual([server.writtenBytes, client.writtenBytes]);
  expect(client.read.digest('hex')).toBe(server.written.digest('hex'));
  expect(server.read.digest('hex')).toBe(client.written.digest('hex'));
  closeFd(server.fd);
  closeFd(client.fd);
});
