/** A recording: one line that says how the engine was set up, then every input it was given, in order, a JSON object a line. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { RestitchError } from '@restitch/core';
import type { EngineInput, EngineOptions } from '@restitch/analytics';

/** A recording stops here: a forgotten one must not fill the disk. */
const maxBytes = 1024 * 1024 * 1024;

/** First line of a recording. */
interface RecordingHead {
  readonly recording: 'restitch-analytics';
  readonly version: 1;
  readonly options: EngineOptions;
  /** True if the engine had seen nothing before: then a replay does exactly what it did. */
  readonly isWhole: boolean;
}

/** How a recording is. */
export interface RecordingView {
  readonly file: string;
  readonly inputs: number;
  readonly bytes: number;
  readonly isWhole: boolean;
  /** It has reached its bound, or the disk refused. */
  readonly ended: string | null;
}

/** An open recording. */
export class Recording {
  #inputs = 0;
  #bytes = 0;
  #ended: string | null = null;
  #fd: number | undefined;

  private constructor(
    readonly file: string,
    readonly isWhole: boolean,
    fd: number,
  ) {
    this.#fd = fd;
  }

  /** Begins a file anew. Throws `usage` if it cannot be written. */
  static open(file: string, options: EngineOptions, isWhole: boolean): Recording {
    let fd: number;
    try {
      fd = openSync(file, 'w', 0o600);
    } catch (cause) {
      throw new RestitchError('usage', `cannot record to ${file}: ${(cause as Error).message}`, { cause });
    }
    const recording = new Recording(file, isWhole, fd);
    const head: RecordingHead = { recording: 'restitch-analytics', version: 1, options, isWhole };
    recording.#append(`${JSON.stringify(head)}\n`);
    return recording;
  }

  get view(): RecordingView {
    const { file, isWhole } = this;
    return { file, inputs: this.#inputs, bytes: this.#bytes, isWhole, ended: this.#ended };
  }

  /** Appends a batch; a disk that is full ends the recording, not the engine. */
  write(inputs: readonly EngineInput[]): void {
    if (this.#fd === undefined || inputs.length === 0) return;
    this.#append(`${inputs.map((input) => JSON.stringify(input)).join('\n')}\n`);
    this.#inputs += inputs.length;
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #append(text: string): void {
    if (this.#fd === undefined) return;
    try {
      this.#bytes += writeSync(this.#fd, text);
    } catch (error) {
      this.#ended = (error as Error).message;
    }
    if (this.#bytes > maxBytes) this.#ended = `reached ${maxBytes} bytes`;
    if (this.#ended !== null) this.close();
  }
}
