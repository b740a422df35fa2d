import { Socket } from 'node:net';
import { expect, it } from 'vitest';
import type { Carrier, CarrierEvents, DetachedCarrier, WriteDone } from './carrier.js';
import { Session } from './session.js';

/** Carries a session in memory: no connection of the kernel stands behind it. */
class MemoryCarrier implements Carrier {
  readonly socket = new Socket();
  readonly sent: string[] = [];
  readonly hasUnread = false;
  readonly isLasting = false;
  endsByReset = false;
  fd = 7;
  isReading = false;
  readonly #events: CarrierEvents;
  readonly #undelivered: Uint8Array[] = [];

  constructor(events: CarrierEvents) {
    this.#events = events;
  }

  get isAttached(): boolean {
    return this.fd >= 0;
  }

  receive(text: string): void {
    if (this.isReading) this.isReading = this.#events.onData(Buffer.from(text));
    else this.#undelivered.push(Buffer.from(text));
  }

  resume(): void {
    this.isReading = true;
  }

  stopReading(): void {
    this.isReading = false;
  }

  write(batch: readonly Uint8Array[], done: WriteDone): void {
    this.sent.push(...batch.map((chunk) => Buffer.from(chunk).toString()));
    done();
  }

  end(done: () => void): void {
    this.sent.push('FIN');
    done();
  }

  destroy(): void {
    this.letGo();
  }

  letGo(): void {
    this.fd = -1;
    this.socket.destroy();
    this.#events.onClose();
  }

  reset(): void {
    this.sent.push('RST');
    this.letGo();
  }

  abandon(): void {
    this.letGo();
  }

  detach(): DetachedCarrier {
    const { fd } = this;
    this.fd = -1;
    return { fd, undelivered: this.#undelivered.splice(0), unwritten: [] };
  }
}

const flow = { client: { address: '127.0.0.1', port: 1 }, vip: { address: '127.0.0.1', port: 2 } };

it('serves, freezes and goes on over whatever carries it', async () => {
  const session = new Session({
    id: 's1',
    epoch: 1,
    listener: 'echo',
    flow,
    allowHalfOpen: false,
    openedAtMs: 0,
  });
  const heard: string[] = [];
  const first = new MemoryCarrier(session.carrierEvents);
  session.attach(first);
  session.on('data', (chunk: Buffer) => {
    heard.push(chunk.toString());
    session.write(`heard ${chunk.toString()}`);
  });
  await new Promise(setImmediate);
  first.receive('one');
  expect([heard, first.sent]).toEqual([['one'], ['heard one']]);

  first.stopReading();
  first.receive('two');
  expect(session.freeze()).toMatchObject({ fd: 7, unread: Buffer.from('two'), inputEnded: false });
  session.write('meanwhile');
  const second = new MemoryCarrier(session.carrierEvents);
  session.attach(second);
  await new Promise(setImmediate);
  second.receive('three');
  expect(heard).toEqual(['one', 'two', 'three']);
  expect(second.sent).toEqual(['meanwhile', 'heard two', 'heard three']);

  session.end();
  expect(second.sent.at(-1)).toBe('FIN');
  session.resetAndDestroy();
  expect(second.sent.at(-1)).toBe('RST');
});
