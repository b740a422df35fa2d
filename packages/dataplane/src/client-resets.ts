/** Resets under way: what a reset says goes out by a raw socket, what its client says is read from the hold queue. */
import { randomBytes } from 'node:crypto';
import { encodeFlowKey } from '@restitch/core';
import type { Clock, Flow } from '@restitch/core';
import type { RawSender } from '@restitch/sys/internal';
import { createClientReset } from './client-reset.js';
import type { ClientReset } from './client-reset.js';
import type { ResetOutcome } from './contract.js';
import type { HoldQueue } from './hold-queue.js';
import { readSegment, writeSegment } from './segment.js';

/** One reset and what it goes through. */
export interface ResetRun {
  readonly flow: Flow;
  readonly deadlineMs: number;
  readonly clock: Clock;
  readonly queue: HoldQueue;
  readonly sender: RawSender;
}

/** All resets of one data plane. */
export class ClientResets {
  readonly #running = new Set<ClientReset>();

  /** Resolves with what became of the client. Rejects with the system's error. */
  async run({ flow, deadlineMs, clock, queue, sender }: ResetRun): Promise<ResetOutcome> {
    let stopListening: (() => void) | undefined;
    let reset: ClientReset | undefined;
    try {
      return await new Promise<ResetOutcome>((resolve, reject) => {
        reset = createClientReset({
          clock,
          deadlineMs,
          firstSeq: randomBytes(4).readUInt32BE(),
          onDone: resolve,
          send: (segment) => {
            try {
              sender.send(writeSegment(flow, segment), flow.client.address);
            } catch (error) {
              reject(error as Error);
            }
          },
        });
        const { hear, start } = reset;
        this.#running.add(reset);
        start();
        stopListening = queue.listen(encodeFlowKey(flow), (frames) => {
          hear(frames.map(readSegment).filter((segment) => segment !== undefined));
        });
      });
    } finally {
      stopListening?.();
      reset?.close();
      if (reset !== undefined) this.#running.delete(reset);
    }
  }

  /** Gives all of them up. */
  close(): void {
    for (const reset of this.#running) reset.close();
  }
}
