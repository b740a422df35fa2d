/**
 * Changes of flow records, gathered for one turn of the event loop and applied in one call.
 *
 * The flush is a microtask: everything that one TLS read brought in shares one batch, and nobody waits for a timer.
 */
import type { Clock, Counters } from '@restitch/core';
import type { Dataplane, FlowChange, FlowChangeResult } from '@restitch/dataplane';

/** Called with the result and CLOCK_MONOTONIC just before (`beganNs`) and just after the batch. */
type FlowChangeDone = (result: FlowChangeResult, beganNs: bigint, endedNs: bigint) => void;

/** Gathers changes of flow records. */
export interface FlowBatch {
  push(change: FlowChange, done?: FlowChangeDone): void;
  /** Applies what is gathered now. */
  flush(): void;
}

/** A batch over `dataplane`. Refused changes without a `done` are counted as `flow_change_<result>_total`. */
export function createFlowBatch(dataplane: Dataplane, clock: Clock, counters: Counters): FlowBatch {
  let changes: FlowChange[] = [];
  let dones: Array<FlowChangeDone | undefined> = [];

  function flush(): void {
    if (changes.length === 0) return;
    const batch = changes;
    const batchDones = dones;
    changes = [];
    dones = [];
    const beganNs = clock.monotonicNs();
    const results = dataplane.apply(batch);
    const endedNs = clock.monotonicNs();
    for (const [i, result] of results.entries()) {
      const done = batchDones[i];
      if (done !== undefined) done(result, beganNs, endedNs);
      else if (result !== 'ok') counters.add(`flow_${batch[i]?.op ?? 'change'}_${result}_total`);
    }
  }

  return {
    push(change, done) {
      if (changes.length === 0) queueMicrotask(flush);
      changes.push(change);
      dones.push(done);
    },
    flush,
  };
}
