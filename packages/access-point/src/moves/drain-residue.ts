/**
 * What an endpoint's host still owes its clients when the access point knows of no session there any more: bytes and FINs
 * in sockets that no session belongs to. The endpoint alone can see them, so it is asked, one question at a time, less
 * often the longer nothing changes.
 */
import { RestitchError } from '@restitch/core';
import type { Clock } from '@restitch/core';
import type { ReplyTo } from '@restitch/wire/internal';
import type { Endpoint } from '../model/endpoint-registry.js';

/** Sockets with something that their clients have not acknowledged, and how much. */
export type Residue = ReplyTo<'residue'>;

/** Why it is not known. */
export interface ResidueDoubt {
  readonly code: string;
  readonly reason: string;
}

const answerMs = 5000;
const firstPauseMs = 100;
const lastPauseMs = 5000;
/**
 * An endpoint of a version that does not know the question may hang up instead of refusing it. It is not asked for ever:
 * each time costs it its control connection.
 */
const maxHangUps = 3;

/** The questions of one drain. */
export class ResidueQuestions {
  readonly #endpoint: Endpoint;
  readonly #clock: Clock;
  #last: Residue | undefined;
  #doubt: ResidueDoubt | undefined;
  /** Answers to questions of an older turn say nothing about now. */
  #turn = 0;
  #isAsking = false;
  #nextMs = 0;
  #pauseMs = firstPauseMs;
  #repeats = 0;
  #hangUps = 0;
  #hungUpInstance: string | undefined;

  constructor(endpoint: Endpoint, clock: Clock) {
    this.#endpoint = endpoint;
    this.#clock = clock;
  }

  /** The last answer since `restart`; undefined as long as there is none. */
  get last(): Residue | undefined {
    return this.#last;
  }

  /** Why there is no answer; undefined where there is one, or nothing was asked yet. */
  get doubt(): ResidueDoubt | undefined {
    return this.#doubt;
  }

  /** True if the last answers were all the same: it does not get less by itself at the moment. */
  get isStanding(): boolean {
    return this.#repeats > 2;
  }

  /** What was answered so far counts no more: there are sessions or moves again. */
  restart(): void {
    this.#turn++;
    this.#last = undefined;
    this.#repeats = 0;
    this.#pauseMs = firstPauseMs;
    this.#nextMs = 0;
  }

  /** Asks if it is time to. `slowly`: there was nothing left the last time. */
  ask(): void {
    const { link, hello } = this.#endpoint;
    const nowMs = this.#clock.monotonicMs();
    if (this.#isAsking || nowMs < this.#nextMs) return;
    if (link === undefined || hello === undefined) {
      this.#doubt = { code: 'peer_lost', reason: `${this.#endpoint.name} is not connected` };
      return;
    }
    if (this.#hungUpInstance !== hello.instance) this.#hangUps = 0;
    this.#hungUpInstance = hello.instance;
    if (this.#hangUps >= maxHangUps) return;
    const turn = this.#turn;
    this.#isAsking = true;
    let isOver = false;
    const done = (data: Residue | RestitchError | 'lost'): void => {
      if (isOver) return;
      isOver = true;
      cancel();
      this.#isAsking = false;
      this.#take(data, turn);
    };
    const cancel = this.#clock.after(answerMs, () =>
      done(new RestitchError('deadline_exceeded', `no answer in ${answerMs} ms`)),
    );
    link.request({ t: 'residue' }, done);
  }

  #take(data: Residue | RestitchError | 'lost', turn: number): void {
    this.#nextMs = this.#clock.monotonicMs() + this.#pauseMs;
    this.#pauseMs = Math.min(this.#pauseMs * 2, lastPauseMs);
    this.#hangUps = data === 'lost' ? this.#hangUps + 1 : 0;
    if (data === 'lost' || data instanceof RestitchError) {
      this.#last = undefined;
      this.#doubt = doubtOf(data, this.#hangUps >= maxHangUps, this.#endpoint.name);
      return;
    }
    this.#doubt = undefined;
    if (turn !== this.#turn) return;
    const { sockets, bytes } = data;
    const isSame = this.#last?.sockets === sockets && this.#last.bytes === bytes;
    this.#repeats = isSame ? this.#repeats + 1 : 0;
    // It gets less: the end may be near.
    if (!isSame) this.#pauseMs = firstPauseMs;
    this.#last = { sockets, bytes };
  }
}

function doubtOf(data: RestitchError | 'lost', isTooOld: boolean, name: string): ResidueDoubt {
  const isUnknown = data !== 'lost' && data.code === 'message_invalid';
  if (isUnknown || isTooOld) {
    const reason = `${name} is older than this access point and cannot say what its sockets still owe their clients`;
    return { code: 'version_unsupported', reason };
  }
  if (data === 'lost') return { code: 'peer_lost', reason: `the control connection to ${name} is lost` };
  return { code: data.code, reason: `${name}: ${data.message}` };
}
