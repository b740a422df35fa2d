/**
 * A session's output between the application and the carrier: an ordered list of batches, the first one in flight.
 *
 * It outlives the carrier, so that a freeze can take everything the kernel does not have, and a revert can go on writing.
 */
import type { Carrier, WriteDone } from './carrier.js';
import { totalBytes } from './unread-ledger.js';

/** Whose bytes: `stream` came through the Writable (whose length counts them), `aside` went past it. */
export type OutputOrigin = 'stream' | 'aside';

interface Batch {
  chunks: readonly Uint8Array[];
  readonly bytes: number;
  readonly origin: OutputOrigin;
  /** Taken away before it is called: a Writable's callback must run once. */
  done: WriteDone | undefined;
}

/** Ordered output with at most one batch in flight. */
export class OutputQueue {
  readonly #batches: Batch[] = [];
  #carrier: Carrier | undefined;
  #isWriting = false;
  #isFinishing = false;
  #isEndSent = false;
  #onFinished: (() => void) | undefined;

  /** Bytes the Writable has handed over and still counts as its own. */
  get streamBytes(): number {
    let sum = 0;
    for (const batch of this.#batches) {
      if (batch.origin === 'stream' && batch.done !== undefined) sum += batch.bytes;
    }
    return sum;
  }

  /** Adds a batch; `done` runs when the kernel has taken it. */
  submit(chunks: readonly Uint8Array[], origin: OutputOrigin, done?: WriteDone): void {
    this.#batches.push({ chunks, bytes: totalBytes(chunks), origin, done });
    this.#advance();
  }

  /** Sends the FIN behind the last batch. */
  finish(done?: () => void): void {
    this.#isFinishing = true;
    this.#onFinished = done;
    this.#advance();
  }

  /** Starts, or goes on, writing to a carrier; a FIN is asked for again, which the kernel takes as done if it was sent. */
  attach(carrier: Carrier): void {
    this.#carrier = carrier;
    this.#isWriting = false;
    this.#isEndSent = false;
    this.#advance();
  }

  /** Stops writing; what was in flight becomes `unwritten`, its tail that the kernel has not taken. */
  detach(unwritten: readonly Uint8Array[]): void {
    this.#carrier = undefined;
    const first = this.#batches[0];
    if (this.#isWriting && first !== undefined) first.chunks = unwritten;
    this.#isWriting = false;
  }

  /**
   * Runs the Writable's pending callback early, so that it hands over what it has buffered. The bytes stay queued.
   * False if none is pending.
   */
  completeStream(): boolean {
    const batch = this.#batches.findLast((b) => b.origin === 'stream' && b.done !== undefined);
    const done = batch?.done;
    if (batch === undefined || done === undefined) return false;
    batch.done = undefined;
    done();
    return true;
  }

  /** Everything the kernel has not taken, in order. Only after `detach`. */
  remaining(): Uint8Array[] {
    return this.#batches.flatMap((batch) => batch.chunks);
  }

  /** Forgets everything; callbacks that have not run get `error`. */
  clear(error: Error | null): void {
    const batches = this.#batches.splice(0);
    this.#carrier = undefined;
    this.#onFinished = undefined;
    for (const batch of batches) batch.done?.(error);
  }

  #advance(): void {
    const carrier = this.#carrier;
    if (carrier === undefined || this.#isWriting) return;
    const batch = this.#batches[0];
    if (batch !== undefined) {
      this.#isWriting = true;
      const written: WriteDone = (error) => this.#onWritten(batch, error);
      if (totalBytes(batch.chunks) === 0) written();
      else carrier.write(batch.chunks, written);
    } else if (this.#isFinishing && !this.#isEndSent) {
      this.#isEndSent = true;
      carrier.end(() => {
        const done = this.#onFinished;
        this.#onFinished = undefined;
        done?.();
      });
    }
  }

  #onWritten(batch: Batch, error?: Error | null): void {
    // A failed write ends the carrier, and that ends the session with the socket's own error.
    if (error || this.#batches[0] !== batch) return;
    this.#isWriting = false;
    this.#batches.shift();
    const done = batch.done;
    batch.done = undefined;
    this.#advance();
    done?.();
  }
}
