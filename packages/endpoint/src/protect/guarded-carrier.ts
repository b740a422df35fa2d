/** A carrier that hides nothing from the client, but tells what passes, and tells the guard where the stream ends. */
import type { Socket } from 'node:net';
import type { CarrierEvents, WriteDone } from '../session/carrier.js';
import { SocketCarrier } from '../session/socket-carrier.js';
import { readWrittenEnd } from '../tcp/index.js';

/** What a guarded carrier tells. */
export interface GuardedEvents {
  readonly onReceived?: (chunk: Uint8Array) => void;
  readonly onReceivedFin?: () => void;
  readonly onWritten?: (batch: readonly Uint8Array[]) => void;
  /** The application wants no more to be written; `then` lets the FIN leave behind it. Without it nothing is waited for. */
  readonly onEnded?: (then: () => void) => void;
  /** Our FIN is about to leave, and this is its sequence number: the kernel has everything. */
  readonly onEnding: (finSeq: number) => void;
  /** A reset is about to leave. */
  readonly onReset: () => void;
}

/** A connection whose death is hidden or told honestly, and whose bytes go their ordinary way. */
export class GuardedCarrier extends SocketCarrier {
  readonly #told: GuardedEvents;

  constructor(socket: Socket, events: CarrierEvents, told: GuardedEvents) {
    super(socket, {
      ...events,
      onData(chunk) {
        const isWanted = events.onData(chunk);
        told.onReceived?.(chunk);
        return isWanted;
      },
      onEnd() {
        told.onReceivedFin?.();
        events.onEnd();
      },
    });
    this.#told = told;
  }

  override write(batch: readonly Uint8Array[], done: WriteDone): void {
    this.#told.onWritten?.(batch);
    super.write(batch, done);
  }

  override get isLasting(): boolean {
    return this.#told.onEnded !== undefined;
  }

  override end(done: () => void): void {
    if (this.#told.onEnded === undefined) super.end(done);
    else this.#told.onEnded(() => super.end(done));
  }

  override reset(): void {
    this.#told.onReset();
    super.reset();
  }

  protected override ending(fd: number): void {
    this.#told.onEnding(readWrittenEnd(fd));
  }
}
