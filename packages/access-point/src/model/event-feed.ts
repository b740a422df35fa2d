/** What happens, for those who watch it: one stream of a tagged union. */
import type { Flow } from '@restitch/core';
import type { MoveRecord } from './history.js';
import type { SessionTakeOver } from './take-over-history.js';

/** One thing that happened. `atMs` is wall time. @public */
export type DaemonEvent =
  | { readonly t: 'move'; readonly atMs: number; readonly move: MoveRecord }
  /** The session's endpoint died: its buddy serves it, or it is lost and its client was told. */
  | ({ readonly t: 'take-over' } & SessionTakeOver)
  | {
      readonly t: 'opened';
      readonly atMs: number;
      readonly sessionId: string;
      readonly endpoint: string;
      readonly flow: Flow;
    }
  | {
      readonly t: 'ended';
      readonly atMs: number;
      readonly sessionId: string;
      readonly endpoint: string;
      readonly reason: string;
    }
  | {
      readonly t: 'endpoint';
      readonly atMs: number;
      readonly endpoint: string;
      readonly state: string;
      readonly before: string;
    }
  /** Of the analytics: mode, fall-backs, brakes, models; see docs/analytics.md. */
  | { readonly t: 'analytics'; readonly atMs: number; readonly name: string; readonly text: string };

/** Events for watchers; costs nothing while nobody watches. */
export interface EventFeed {
  readonly isWatched: boolean;
  emit(event: DaemonEvent): void;
  /** The returned function ends it. */
  watch(listener: (event: DaemonEvent) => void): () => void;
}

/** A feed without watchers. */
export function createEventFeed(): EventFeed {
  const watchers = new Set<(event: DaemonEvent) => void>();
  return {
    get isWatched() {
      return watchers.size > 0;
    },
    emit(event) {
      for (const watcher of watchers) watcher(event);
    },
    watch(listener) {
      watchers.add(listener);
      return () => void watchers.delete(listener);
    },
  };
}
