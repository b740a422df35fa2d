/**
 * Tells clients that nobody serves them any more: their packets are kept, they are reset with a number that only they
 * know, and the record closes on their answer.
 *
 * A dead endpoint may leave ten thousand of them. Each costs a few system calls at its start, so they are started in
 * handfuls with a turn of the event loop between, and those that do not answer cannot keep out the rest for long.
 */
import { formatFlow } from '@restitch/core';
import type { Clock, Counters, Flow, Logger } from '@restitch/core';
import type { Dataplane, FlowChange, FlowChangeResult, ResetOutcome } from '@restitch/dataplane';
import type { FlowBatch } from '../model/flow-batch.js';

/** What telling them needs. */
export interface ClientEndsDeps {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly dataplane: Dataplane;
  readonly batch: FlowBatch;
  readonly lingerMs: () => number;
}

/** A client is told within this, or cannot be reached. */
const resetMs = 4000;
/** Clients that are being told at the same time; each has a timer and a listener, no more. */
const maxAtOnce = 4096;
/** Started in one turn of the event loop: a millisecond or two. */
const maxPerTurn = 64;
const pauseMs = 1;
/** Kept packets are written back before this is over: the record can be frozen then. */
const maxFreezeTries = 5;
const freezePauseMs = 20;

/** Ends connections from here. */
export class ClientEnds {
  readonly #deps: ClientEndsDeps;
  readonly #queue: Array<() => void> = [];
  /** By flow as text. */
  readonly #ending = new Set<string>();
  #running = 0;
  #startedNow = 0;
  #hasFailed = false;

  constructor(deps: ClientEndsDeps) {
    this.#deps = deps;
  }

  /** True while the client of that flow is being told, or is about to be. */
  isEnding(flow: Flow): boolean {
    return this.#ending.has(formatFlow(flow));
  }

  /** Resolves with what the client answered; the record is closing then. Never rejects. */
  end({ flow, epoch }: { readonly flow: Flow; readonly epoch: number }): Promise<ResetOutcome> {
    const key = formatFlow(flow);
    const ending = new Promise<ResetOutcome>((resolve) => {
      this.#queue.push(() => {
        void this.#endNow(flow, epoch).then((client) => {
          this.#running--;
          this.#ending.delete(key);
          resolve(client);
          this.#pump();
        });
      });
    });
    this.#ending.add(key);
    this.#pump();
    return ending;
  }

  #pump(): void {
    while (this.#running < maxAtOnce && this.#startedNow < maxPerTurn) {
      const start = this.#queue.shift();
      if (start === undefined) return;
      if (this.#startedNow++ === 0) this.#deps.clock.after(pauseMs, () => this.#nextTurn());
      this.#running++;
      start();
    }
  }

  #nextTurn(): void {
    this.#startedNow = 0;
    this.#pump();
  }

  async #endNow(flow: Flow, epoch: number): Promise<ResetOutcome> {
    const { counters, batch, lingerMs } = this.#deps;
    // Nobody may get the client's packets meanwhile, and its answers are read from where they are kept.
    const isFrozen = await this.#freeze(flow, epoch);
    const client = isFrozen ? await this.#reset(flow) : 'unanswered';
    counters.add(`protection_clients_${client}_total`);
    batch.push({ op: 'close', flow, epoch, lingerMs: lingerMs() });
    return client;
  }

  async #freeze(flow: Flow, epoch: number): Promise<boolean> {
    const { clock } = this.#deps;
    for (let tries = 1; ; tries++) {
      const deadlineNs = clock.monotonicNs() + BigInt(resetMs + 1000) * 1_000_000n;
      const result = await this.#change({ op: 'freeze', flow, epoch, deadlineNs });
      if (result !== 'phase' || tries >= maxFreezeTries) return result === 'ok';
      await new Promise<void>((resolve) => clock.after(freezePauseMs, resolve));
    }
  }

  async #reset(flow: Flow): Promise<ResetOutcome> {
    const { dataplane, logger, counters } = this.#deps;
    try {
      return await dataplane.resetClient(flow, resetMs);
    } catch (error) {
      counters.add('protection_resets_failed_total');
      // Without the capability for it all of them fail, and one line says as much as ten thousand.
      const what = { flow: formatFlow(flow), reason: (error as Error).message };
      if (this.#hasFailed) logger.debug(what, 'client cannot be reset');
      else logger.error(what, 'client cannot be reset; further ones are counted');
      this.#hasFailed = true;
      return 'unanswered';
    }
  }

  #change(change: FlowChange): Promise<FlowChangeResult> {
    return new Promise((resolve) => this.#deps.batch.push(change, resolve));
  }
}
