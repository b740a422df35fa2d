/** Asks the operator's own model after each tick, one question at a time; what fails leaves the built-in score in place. */
import { readFile } from 'node:fs/promises';
import type { OwnModel, OwnModelRows } from '@restitch/analytics';
import { toRestitchError } from '@restitch/core';
import { openOnnxModel } from './onnx-model.js';

/** Where answers and failures go. */
export interface OwnModelUser {
  give(scores: readonly (number | null)[]): void;
  /** Once for each new reason. */
  failed(text: string): void;
}

/** How it does. */
export interface OwnModelView {
  readonly file: string;
  readonly answers: number;
  readonly failures: number;
  readonly failure: string | null;
}

/** See the head of the file. */
export class OwnModelDesk {
  readonly #model: Promise<OwnModel | undefined>;
  readonly #user: OwnModelUser;
  readonly #file: string;
  #isAsking = false;
  #isClosed = false;
  #answers = 0;
  #failures = 0;
  #failure: string | undefined;

  constructor(file: string, user: OwnModelUser) {
    this.#file = file;
    this.#user = user;
    this.#model = readFile(file)
      .then((bytes) => openOnnxModel(file, bytes))
      .catch((cause: unknown) => {
        this.#fail(cause);
        return undefined;
      });
  }

  get view(): OwnModelView {
    return {
      file: this.#file,
      answers: this.#answers,
      failures: this.#failures,
      failure: this.#failure ?? null,
    };
  }

  /** Rows of the step that was just made; while an answer is awaited they are left out. */
  ask(rows: OwnModelRows | undefined): void {
    if (rows === undefined || rows.count === 0 || this.#isAsking) return;
    this.#isAsking = true;
    this.#score(rows)
      .catch((cause: unknown) => this.#fail(cause))
      .finally(() => {
        this.#isAsking = false;
      });
  }

  close(): void {
    this.#isClosed = true;
  }

  async #score({ rows, count, width }: OwnModelRows): Promise<void> {
    const model = await this.#model;
    if (model === undefined || this.#isClosed) return;
    const scores = await model.score(rows, count, width);
    if (this.#isClosed) return;
    this.#answers++;
    this.#failure = undefined;
    this.#user.give(Array.from(scores, (p) => (Number.isFinite(p) ? p : null)));
  }

  #fail(cause: unknown): void {
    const { message } = toRestitchError(cause);
    this.#failures++;
    if (this.#failure === message || this.#isClosed) return;
    this.#failure = message;
    this.#user.failed(`own model ${this.#file}: ${message}`);
  }
}
