/**
 * A word from one part of the daemon for another that it does not know. Who speaks is made before who hears, so the listener
 * is named last, when all parts are there; a word before that would be lost, and is a mistake of whoever put them together.
 */
import { RestitchError } from '@restitch/core';

/** Told by one part, heard by one other. */
export interface Signal<A extends readonly unknown[]> {
  /** Throws `internal` as long as nobody hears. */
  readonly tell: (...what: A) => void;
  readonly hear: (listener: (...what: A) => void) => void;
}

/** A signal without a listener yet. */
export function createSignal<A extends readonly unknown[]>(): Signal<A> {
  let heard: ((...what: A) => void) | undefined;
  return {
    tell(...what) {
      if (heard === undefined)
        throw new RestitchError('internal', 'a part of the daemon spoke before all were there');
      heard(...what);
    },
    hear(listener) {
      heard = listener;
    },
  };
}
