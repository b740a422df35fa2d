/** The carrier of a protected session: the same connection, with the buddy between it and the application. */
import type { Socket } from 'node:net';
import type { CarrierEvents, DetachedCarrier, WriteDone } from '../session/carrier.js';
import { SocketCarrier } from '../session/socket-carrier.js';
import type { ProtectedSession } from './protected-session.js';

/** A connection whose bytes wait for their commit. */
export class ProtectedCarrier extends SocketCarrier {
  readonly #protected: ProtectedSession;

  constructor(socket: Socket, events: CarrierEvents, session: ProtectedSession) {
    super(socket, {
      ...events,
      onData(chunk) {
        session.received(chunk);
        const isWanted = events.onData(chunk);
        return isWanted && session.hasInputRoom;
      },
      onEnd() {
        session.receivedFin();
        events.onEnd();
      },
    });
    this.#protected = session;
    session.carrier = this;
  }

  /** What the application was told is written leaves when it is committed, whatever the application does then. */
  override get isLasting(): boolean {
    return true;
  }

  /** A replay log that is full takes no more input, whatever the application would read. */
  override resume(): void {
    if (this.#protected.hasInputRoom) super.resume();
  }

  override write(batch: readonly Uint8Array[], done: WriteDone): void {
    this.#protected.produce(batch, done);
  }

  override end(done: () => void): void {
    this.#protected.end(done);
  }

  /** What was read until now belongs to the input. Reading it out makes Node read on, so that is stopped behind it. */
  override stopReading(): void {
    while (this.socket.read() !== null);
    super.stopReading();
  }

  /** What was read for the freeze did not come through `onData`, but belongs to the input all the same. */
  override detach(): DetachedCarrier {
    const detached = super.detach();
    for (const chunk of detached.undelivered) this.#protected.received(chunk);
    return detached;
  }

  override reset(): void {
    this.#protected.allowReset();
    super.reset();
  }

  /** Bytes whose commit is on the buddy. */
  writeCommitted(bytes: Uint8Array): void {
    if (this.isAttached) this.socket.write(bytes);
  }

  /** The FIN, once the end is committed. */
  endCommitted(done: () => void): void {
    super.end(done);
  }
}
