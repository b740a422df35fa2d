/**
 * Which bytes an application has not consumed yet, known without looking into a Readable's private buffer.
 *
 * A Readable tells how many bytes it still holds (`readableLength`), and it hands them out in order; so what is unread is
 * always the tail, of that length, of everything pushed. The ledger keeps references to pushed chunks, never copies.
 */

/** References to the pushed chunks that may still be unread. */
export class UnreadLedger {
  #chunks: Uint8Array[] = [];
  #bytes = 0;

  /** Bytes referenced; at least what is unread after the last `trim`. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A chunk that is about to be pushed. */
  append(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
  }

  /** A chunk that is about to be put back in front of `unreadBytes` unread bytes. */
  prepend(chunk: Uint8Array, unreadBytes: number): void {
    this.#chunks = [chunk, ...this.tail(unreadBytes)];
    this.#bytes = chunk.length + unreadBytes;
  }

  /** Drops references to chunks that lie wholly before the last `unreadBytes` bytes. */
  trim(unreadBytes: number): void {
    if (unreadBytes === 0) {
      this.#chunks.length = 0;
      this.#bytes = 0;
      return;
    }
    let drop = 0;
    for (const chunk of this.#chunks) {
      if (this.#bytes - chunk.length < unreadBytes) break;
      this.#bytes -= chunk.length;
      drop++;
    }
    if (drop > 0) this.#chunks.splice(0, drop);
  }

  /** The last `unreadBytes` bytes as chunks, in order. */
  tail(unreadBytes: number): Uint8Array[] {
    return lastBytes(this.#chunks, unreadBytes);
  }
}

/** The last `count` bytes of a chunk list, without copying. */
export function lastBytes(chunks: readonly Uint8Array[], count: number): Uint8Array[] {
  const out: Uint8Array[] = [];
  let missing = count;
  for (let i = chunks.length - 1; i >= 0 && missing > 0; i--) {
    const chunk = chunks[i] as Uint8Array;
    out.push(chunk.length <= missing ? chunk : chunk.subarray(chunk.length - missing));
    missing -= chunk.length;
  }
  return out.reverse();
}

/** Sum of lengths. */
export function totalBytes(chunks: readonly Uint8Array[]): number {
  let sum = 0;
  for (const chunk of chunks) sum += chunk.length;
  return sum;
}
