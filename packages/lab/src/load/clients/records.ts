/**
 * Numbered records of a fixed size, one a line, and the check of what comes back.
 *
 * A record names its session and its number, so a wrong answer is not only seen but told apart: lost, doubled, foreign.
 */

/** Smallest record that holds number and session. */
export const minRecordBytes = 32;

/** What the checked stream had; bytes. */
export interface RecordTally {
  receivedBytes: number;
  mismatchedBytes: number;
  lostBytes: number;
  duplicatedBytes: number;
}

/** Record number `n` of session `tag` (8 characters), `size` bytes with its newline. */
export function encodeRecord(tag: string, n: number, size: number): Buffer {
  const head = `${n.toString().padStart(10, '0')} ${tag.padEnd(8, '_').slice(0, 8)} `;
  const record = Buffer.alloc(size, head);
  record[size - 1] = 0x0a;
  return record;
}

/** Checks a stream of records, in whatever pieces it comes. */
export class RecordChecker {
  readonly tally: RecordTally = { receivedBytes: 0, mismatchedBytes: 0, lostBytes: 0, duplicatedBytes: 0 };
  /** Number of the next record that must come. */
  nextNumber: number;
  /** What the first bad record looked like, for the story. */
  firstTrouble: string | undefined;
  readonly #tag: string;
  readonly #size: number;
  #rest: Buffer = Buffer.alloc(0);

  constructor(tag: string, size: number, nextNumber = 0) {
    this.#tag = tag;
    this.#size = size;
    this.nextNumber = nextNumber;
  }

  /** Takes bytes; calls `onRecord` with the number of each right record. */
  push(bytes: Buffer, onRecord: (n: number) => void): void {
    this.tally.receivedBytes += bytes.length;
    let data = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    while (data.length >= this.#size) {
      data = data.subarray(this.#checkOne(data, onRecord));
    }
    this.#rest = data;
  }

  /** Returns how many bytes were consumed. */
  #checkOne(data: Buffer, onRecord: (n: number) => void): number {
    const size = this.#size;
    const record = data.subarray(0, size);
    if (record.equals(encodeRecord(this.#tag, this.nextNumber, size))) {
      onRecord(this.nextNumber++);
      return size;
    }
    this.firstTrouble ??= `expected record ${this.nextNumber}, got ${JSON.stringify(record.toString('latin1', 0, 40))}`;
    const n = Number(record.toString('latin1', 0, 10));
    if (Number.isSafeInteger(n) && record.equals(encodeRecord(this.#tag, n, size))) {
      if (n < this.nextNumber) this.tally.duplicatedBytes += size;
      else {
        this.tally.lostBytes += (n - this.nextNumber) * size;
        this.nextNumber = n + 1;
      }
      return size;
    }
    // Out of step: go on behind the next newline.
    const newline = data.indexOf(0x0a);
    const skipped = newline < 0 ? data.length : newline + 1;
    this.tally.mismatchedBytes += skipped;
    return skipped;
  }
}
