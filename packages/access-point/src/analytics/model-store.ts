/** Trained models on disk: written aside and renamed into place, the one before kept, bounded in size and frequency. */
import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A model of three horizons is about two megabytes. */
const maxBytes = 64 * 1024 * 1024;
/** Fits come every few minutes while a panel is young; the disk need not see each. */
const leastPauseMs = 30_000;

/** See the head of the file. */
export class ModelStore {
  readonly #path: string;
  readonly #directory: string;
  #writtenMs = Number.NEGATIVE_INFINITY;
  #last = '';
  /** Why the last write did not succeed. */
  failure: string | undefined;

  constructor(directory: string) {
    this.#directory = directory;
    this.#path = join(directory, 'model.json');
  }

  /** The stored text; undefined when there is none. One that is too long is '', which is no model. */
  read(): string | undefined {
    try {
      return statSync(this.#path).size > maxBytes ? '' : readFileSync(this.#path, 'utf8');
    } catch {
      // A first start: there is nothing yet.
      return undefined;
    }
  }

  /** Writes if it is another text and not too soon, or `isUrgent`. All of the old or all of the new one is there at any time. */
  write(text: string, nowMs: number, isUrgent = false): void {
    if (text === this.#last || text.length > maxBytes) return;
    if (!isUrgent && nowMs - this.#writtenMs < leastPauseMs) return;
    this.#writtenMs = nowMs;
    const aside = `${this.#path}.${process.pid}.new`;
    try {
      mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
      writeFileSync(aside, text, { mode: 0o600, flush: true });
      this.#keepPrevious();
      renameSync(aside, this.#path);
      this.#last = text;
      this.failure = undefined;
    } catch (error) {
      this.failure = (error as Error).message;
    }
  }

  #keepPrevious(): void {
    const before = this.read();
    if (before === undefined) return;
    const aside = `${this.#path}.${process.pid}.old`;
    writeFileSync(aside, before, { mode: 0o600 });
    renameSync(aside, join(this.#directory, 'model.previous.json'));
  }
}
