/**
 * Folds telemetry into session columns: a bounded batch of records a period, in any order. Records carry the time they were
 * taken; for one session the newest wins, so the order within a period does not matter.
 */
import { createSessionColumns, type SessionColumns } from './fleet.js';

/** A batch as columns; `count` records. */
export interface TelemetryBatch {
  readonly count: number;
  /** Handle of the session. */
  readonly session: Int32Array;
  readonly endpoint: Int32Array;
  /** When it was measured, monotonic. */
  readonly takenMs: Float64Array;
  /** Requests and bytes (both ways) since the session began; counters, so a lost record loses nothing. */
  readonly requests: Float64Array;
  readonly bytes: Float64Array;
  readonly imageBytes: Float32Array;
}

/** Weight of a new rate: about the last ten records count. */
const RATE_SHARE = 0.2;

/** What a fold did with its records. */
export interface FoldResult {
  readonly folded: number;
  /** Records with values that cannot be (NaN, negative, unknown handle), ignored. */
  readonly refused: number;
  /** Records older than what is known. */
  readonly late: number;
}

/** Columns plus what is needed to turn counters into rates. */
export class SessionTable {
  readonly columns: SessionColumns;
  readonly requestsPerSec: Float32Array;
  readonly bytesPerSec: Float32Array;
  /** Figures that rates were made of, up to 255. */
  readonly figures: Uint8Array;
  private readonly takenMs: Float64Array;
  private readonly requests: Float64Array;
  private readonly bytes: Float64Array;
  private readonly arrivedMs: Float64Array;

  constructor(readonly capacity: number) {
    this.columns = createSessionColumns(capacity);
    this.requestsPerSec = new Float32Array(capacity);
    this.bytesPerSec = new Float32Array(capacity);
    this.figures = new Uint8Array(capacity);
    this.takenMs = new Float64Array(capacity).fill(Number.NaN);
    this.requests = new Float64Array(capacity);
    this.bytes = new Float64Array(capacity);
    this.arrivedMs = new Float64Array(capacity);
  }

  /** Bytes held a session, all columns together. */
  get bytesPerSession(): number {
    let sum = 0;
    for (const column of [...Object.values(this.columns), ...Object.values(this)]) {
      if (ArrayBuffer.isView(column)) sum += column.byteLength;
    }
    return sum / this.capacity;
  }

  /**
   * Folds a batch in. Sessions' load is `loadPerRequest × requests/s + loadPerByte × bytes/s`. A counter that went back (a
   * restarted source) starts a new base and keeps the old rate; a clock that went back makes the record late.
   */
  fold(batch: TelemetryBatch, loadPerRequest: number, loadPerByte: number): FoldResult {
    const { columns } = this;
    let folded = 0;
    let refused = 0;
    let late = 0;
    for (let i = 0; i < batch.count; i++) {
      const s = batch.session[i]!;
      const taken = batch.takenMs[i]!;
      const requests = batch.requests[i]!;
      const bytes = batch.bytes[i]!;
      if (!(s >= 0 && s < this.capacity && requests >= 0 && bytes >= 0 && taken - taken === 0)) {
        refused++;
        continue;
      }
      const before = this.takenMs[s]!;
      if (before >= taken) {
        late++;
        continue;
      }
      const endpoint = batch.endpoint[i]!;
      if (columns.endpoint[s] !== endpoint) {
        columns.endpoint[s] = endpoint;
        this.arrivedMs[s] = taken;
      }
      if (before === before && requests >= this.requests[s]! && bytes >= this.bytes[s]!) {
        const perSec = 1000 / (taken - before);
        const rate = this.requestsPerSec[s]!;
        const volume = this.bytesPerSec[s]!;
        // The first figure stands as it is: averaged with nought, a young session would look five times too light.
        const share = rate === 0 && volume === 0 ? 1 : RATE_SHARE;
        this.requestsPerSec[s] = rate + share * ((requests - this.requests[s]!) * perSec - rate);
        this.bytesPerSec[s] = volume + share * ((bytes - this.bytes[s]!) * perSec - volume);
        this.figures[s] = Math.min(255, this.figures[s]! + 1);
      }
      this.takenMs[s] = taken;
      this.requests[s] = requests;
      this.bytes[s] = bytes;
      const image = batch.imageBytes[i]!;
      if (image >= 0) columns.imageBytes[s] = image;
      columns.load[s] = loadPerRequest * this.requestsPerSec[s]! + loadPerByte * this.bytesPerSec[s]!;
      columns.residenceS[s] = (taken - this.arrivedMs[s]!) / 1000;
      folded++;
    }
    return { folded, refused, late };
  }

  /** A table of another capacity (not less) with everything this one knows. */
  resized(capacity: number): SessionTable {
    const next = new SessionTable(capacity);
    const copy = (from: object, to: object): void => {
      for (const [name, column] of Object.entries(from)) {
        if (ArrayBuffer.isView(column))
          (to as Record<string, Float64Array>)[name]!.set(column as Float64Array);
      }
    };
    copy(this.columns, next.columns);
    copy(this, next);
    return next;
  }

  /** Age of what is known about a session; NaN when nothing is. */
  ageMs(session: number, nowMs: number): number {
    return nowMs - this.takenMs[session]!;
  }

  /** The session ended; its handle may be used again. */
  remove(session: number): void {
    this.columns.endpoint[session] = -1;
    this.columns.flags[session] = 0;
    this.columns.load[session] = 0;
    this.requestsPerSec[session] = 0;
    this.bytesPerSec[session] = 0;
    this.figures[session] = 0;
    this.takenMs[session] = Number.NaN;
  }
}
