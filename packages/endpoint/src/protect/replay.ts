/**
 * Running an application again over input it has had already (level commit with `replay`).
 *
 * Its output up to what was promised goes nowhere: the client has it, or gets it from the replica. It is compared as far
 * as it is still known, because an application that answers differently now must never be heard.
 */
import { RestitchError } from '@restitch/core';

/** Output that was promised. */
export interface PromisedOutput {
  /** Output at the state the application begins from. */
  readonly from: number;
  readonly end: number;
  /** The last bytes of it, from `keptFrom` to `end`; what lies before was acknowledged by the client and forgotten. */
  readonly kept: Uint8Array;
  readonly keptFrom: number;
}

/** One replay. */
export class Replay {
  readonly #promised: PromisedOutput;
  #at: number;

  constructor(promised: PromisedOutput) {
    this.#promised = promised;
    this.#at = promised.from;
  }

  /** All that was promised has been made again. */
  get isDone(): boolean {
    return this.#at >= this.#promised.end;
  }

  /** Takes output in; returns what is new. Throws `app_refused` with `details.reason` "replay". */
  take(chunk: Uint8Array): Uint8Array {
    const { end, kept, keptFrom } = this.#promised;
    const begin = this.#at;
    const known = Math.min(chunk.length, Math.max(0, end - begin));
    for (let i = Math.max(0, keptFrom - begin); i < known; i++) {
      if (chunk[i] !== kept[begin + i - keptFrom]) {
        throw contradiction(`byte ${begin + i} of the output is another one now`, begin + i);
      }
    }
    this.#at += known;
    return chunk.subarray(known);
  }

  /** The application ends its output, or has had time enough. Throws `app_refused` if bytes are missing. */
  assertDone(what: string): void {
    if (this.isDone) return;
    const { end } = this.#promised;
    throw contradiction(`${what} after ${this.#at} of ${end} promised bytes`, this.#at);
  }
}

function contradiction(what: string, offset: number): RestitchError {
  return new RestitchError('app_refused', `replay contradicts what the client was promised: ${what}`, {
    details: { reason: 'replay', offset },
  });
}
