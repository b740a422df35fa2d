/** A carrier that hides nothing from the client, but tells what passes, and asks the guard before it closes. */
import type { Socket } from 'node:net';
import { Carrier, type CarrierEvents, type WriteDone } from '../session/carrier.js';

/** What a guarded carrier tells. */
export interface GuardedEvents {
  readonly onReceived?: () => void;
  readonly onReceivedFin?: () => void;
  readonly onWritten?: (batch: readonly Uint8Array[]) => void;
  /** The application closes: what comes next is meant. */
  readonly onClosing: () => void;
}

/** A connection whose death is hidden or told honestly, and whose bytes go their ordinary way. */
export class GuardedCarrier extends Carrier {
  readonly #told: GuardedEvents;

  constructor(socket: Socket, events: CarrierEvents, told: GuardedEvents) {
    super(socket, {
      ...events,
      onData(chunk) {
        const isWanted = events.onData(chunk);
        told.onReceived?.();
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

  override end(done: () => void): void {
    this.#told.onClosing();
    super.end(done);
  }

  override destroy(): void {
    this.#told.onClosing();
    super.destroy();
  }

  override reset(): void {
    this.#told.onClosing();
    super.reset();
  }
}
