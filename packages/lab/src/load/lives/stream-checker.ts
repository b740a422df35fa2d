/** Checks a stream against the pattern it must be, and tells lost, doubled and wrong bytes apart. */
import { findMismatch, locatePattern, patternAt } from '../clients/pattern.js';

/** Enough that a place in the pattern is unique. */
const fingerprintBytes = 24;

/** A stream that must be the pattern from `base` on, in whatever pieces it comes. */
export class StreamChecker {
  receivedBytes = 0;
  lostBytes = 0;
  doubledBytes = 0;
  wrongBytes = 0;
  /** What was wrong first. */
  trouble: string | undefined;
  readonly #base: number;
  /** How far the stream should be by now: differs from what was received by what was lost and doubled. */
  #position = 0;

  constructor(base: number) {
    this.#base = base;
  }

  /** How much of the stream, from its beginning on, has come in its place. */
  get position(): number {
    return this.#position;
  }

  /** Takes bytes. */
  push(bytes: Buffer): void {
    this.receivedBytes += bytes.length;
    for (let at = 0; at < bytes.length; ) {
      const rest = bytes.subarray(at);
      const wrongAt = findMismatch(rest, this.#base + this.#position);
      if (wrongAt < 0) {
        this.#position += rest.length;
        return;
      }
      this.#position += wrongAt;
      at += wrongAt + this.#skip(rest.subarray(wrongAt));
    }
  }

  /** Finds out what stands where something else should; returns how many bytes that explains. */
  #skip(rest: Buffer): number {
    const expectedAt = this.#base + this.#position;
    this.trouble ??= `at byte ${this.#position}: ${rest.toString('hex', 0, 8)}, not ${patternAt(expectedAt, 8).toString('hex')}`;
    const shift = locatePattern(rest.subarray(0, fingerprintBytes), expectedAt);
    if (shift === undefined) {
      this.wrongBytes++;
      this.#position++;
      return 1;
    }
    if (shift > 0) {
      this.lostBytes += shift;
      this.#position += shift;
      return 0;
    }
    const again = Math.min(-shift, rest.length);
    this.doubledBytes += again;
    return again;
  }
}
