/**
 * Ends records of closed sessions when their time is up. BPF forgets one when a packet meets it; this forgets those that
 * nobody speaks of any more. In between, late packets (a resent FIN's ACK) still go to the owner.
 */
import type { Clock, Flow } from '@restitch/core';
import type { ControlProgram } from './control.js';

const sweepMs = 1000;

interface Closing {
  readonly flow: Flow | Uint8Array;
  readonly epoch: number;
  readonly deadlineNs: bigint;
}

/** Records that will expire. */
export interface ClosingSweep {
  add(closing: Closing): void;
  close(): void;
}

/** A sweep that runs while there is something to expire. */
export function createClosingSweep(control: ControlProgram, clock: Clock): ClosingSweep {
  let waiting: Closing[] = [];
  let cancel: (() => void) | undefined;
  const sweep = (): void => {
    cancel = undefined;
    const nowNs = clock.monotonicNs();
    const due = waiting.filter((entry) => entry.deadlineNs <= nowNs);
    waiting = waiting.filter((entry) => entry.deadlineNs > nowNs);
    // A record that lives again, or with another epoch, refuses: nothing to do then.
    control.run(due.map(({ flow, epoch }) => ({ op: 'expire', flow, epoch })));
    if (waiting.length > 0) cancel = clock.after(sweepMs, sweep);
  };
  return {
    add(closing) {
      waiting.push(closing);
      cancel ??= clock.after(sweepMs, sweep);
    },
    close: () => cancel?.(),
  };
}
