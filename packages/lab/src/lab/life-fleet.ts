/** The laboratory's side of the driver of phase clients. */
import type { ChildProcess } from 'node:child_process';
import { RestitchError } from '@restitch/core';
import { awaitMessage } from './await-message.js';
import type { Lab } from './lab.js';
import type { LifeRecord } from '../load/lives/life-kinds.js';
import type { FromLifeDriver, LifeSlot, LifeVisit, ToLifeDriver } from '../load/lives/life-messages.js';
import { programFile } from './program-file.js';

const driverFile = programFile('load/lives/life-driver');
const startMs = 20_000;
const answerMs = 10_000;

/** What the driver sees now. */
export type LivesSeen = Extract<FromLifeDriver, { t: 'seen' }>;

/** One driver process. */
export class LifeFleet {
  readonly #lab: Lab;
  readonly #name: string;
  readonly #child: ChildProcess;

  private constructor(lab: Lab, name: string) {
    this.#lab = lab;
    this.#name = name;
    this.#child = lab.start({
      name,
      party: lab.plan.client,
      command: process.execPath,
      args: [driverFile],
      hasChannel: true,
    });
    // One listener for each question that is under way.
    this.#child.setMaxListeners(0);
    // A driver that is gone is told by who waits for its answer.
    this.#child.on('error', () => undefined);
  }

  /** Starts a driver process in the client's namespace. */
  static async start(lab: Lab, name = 'phase-clients'): Promise<LifeFleet> {
    const fleet = new LifeFleet(lab, name);
    await fleet.#expect('started', startMs);
    return fleet;
  }

  /** Clients in these slots from now on. */
  keep(slots: readonly LifeSlot[], seed: number): void {
    this.#send({ t: 'keep', slots, seed });
  }

  /** Visitors at that instant (CLOCK_MONOTONIC milliseconds), or at once if it has passed. */
  visit(visits: readonly LifeVisit[], when: { atMs: number; spreadMs: number; seed: number }): void {
    this.#send({ t: 'visit', visits, ...when });
  }

  /** Who is there; waits until visitors are connected, but no longer than `withinMs`. */
  async look(withinMs = 0): Promise<LivesSeen> {
    this.#send({ t: 'look', withinMs });
    return this.#expect('seen', answerMs + withinMs);
  }

  /** Ends all of them in order and says how each went. */
  async finish(drainMs: number): Promise<readonly LifeRecord[]> {
    this.#send({ t: 'finish', drainMs });
    return (await this.#expect('records', drainMs + answerMs)).records;
  }

  /** Ends the process. */
  async close(): Promise<void> {
    await this.#lab.stop(this.#name);
  }

  #send(message: ToLifeDriver): void {
    this.#child.send(message);
  }

  async #expect<K extends FromLifeDriver['t']>(
    kind: K,
    limitMs: number,
  ): Promise<Extract<FromLifeDriver, { t: K }>> {
    const what = `driver of ${this.#name} (see ${this.#lab.logFile(this.#name)})`;
    return awaitMessage(this.#child, limitMs, what, (raw) => {
      const message = raw as FromLifeDriver;
      if (message.t === 'failed') throw new RestitchError('peer_lost', message.message);
      return message.t === kind ? (message as Extract<FromLifeDriver, { t: K }>) : undefined;
    });
  }
}
