/** A run of a byte stream by absolute offsets: appended at the end, trimmed at the front, copied only when read. */
import { RestitchError } from '@restitch/core';

/** Bytes [start, end) of a stream. */
export interface ByteLog {
  readonly start: number;
  readonly end: number;
  append(bytes: Uint8Array): void;
  /** Forgets what lies before `offset`; beyond the end it empties the log and moves it there. */
  trimTo(offset: number): void;
  /** A copy of [from, to). Throws `internal` if it is not all here. */
  slice(from: number, to: number): Buffer;
}

/** An empty log at `offset`. */
export function createByteLog(offset = 0): ByteLog {
  let chunks: Uint8Array[] = [];
  let start = offset;
  let end = offset;
  return {
    get start() {
      return start;
    },
    get end() {
      return end;
    },
    append(bytes) {
      if (bytes.length === 0) return;
      chunks.push(bytes);
      end += bytes.length;
    },
    trimTo(to) {
      if (to <= start) return;
      if (to >= end) {
        chunks = [];
        start = to;
        end = to;
        return;
      }
      let drop = 0;
      while (start < to) {
        const chunk = chunks[drop] as Uint8Array;
        const cut = Math.min(chunk.length, to - start);
        if (cut < chunk.length) chunks[drop] = chunk.subarray(cut);
        else drop++;
        start += cut;
      }
      chunks.splice(0, drop);
    },
    slice(from, to) {
      if (from < start || to > end || from > to) {
        throw new RestitchError('internal', `byte log has [${start}, ${end}), asked for [${from}, ${to})`);
      }
      const out = Buffer.allocUnsafe(to - from);
      let at = start;
      for (const chunk of chunks) {
        if (at >= to) break;
        const head = Math.max(from - at, 0);
        const tail = Math.min(to - at, chunk.length);
        if (head < tail) out.set(chunk.subarray(head, tail), at + head - from);
        at += chunk.length;
      }
      return out;
    },
  };
}
