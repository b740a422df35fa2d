/** The laboratory's side of the client driver: starts it, opens sessions, collects reports. */
import type { ChildProcess } from 'node:child_process';

import { RestitchError } from '@restitch/core';
import { awaitMessage } from './await-message.js';
import type { Lab } from './lab.js';
import { programFile } from './program-file.js';
import type {
  ClientReport,
  ClientSpec,
  DriverTotals,
  FromDriver,
  ToDriver,
} from '../load/clients/driver-messages.js';

/** Where a client session has its local end. */
export interface OpenedClient {
  readonly tag: string;
  readonly localAddress: string;
  readonly localPort: number;
}

const driverFile = programFile('load/clients/driver');

/** Totals before anything was sent. */
export const noTotals: DriverTotals = {
  sentBytes: 0,
  receivedBytes: 0,
  mismatchedBytes: 0,
  lostBytes: 0,
  duplicatedBytes: 0,
  resets: 0,
  rtos: 0,
  open: 0,
  stalestMs: 0,
  broken: [],
};

/** One driver process. */
export class ClientFleet {
  readonly name: string;
  readonly #lab: Lab;
  readonly #child: ChildProcess;
  #totals: DriverTotals = noTotals;

  private constructor(lab: Lab, name: string) {
    this.#lab = lab;
    this.name = name;
    this.#child = lab.start({
      name,
      party: lab.plan.client,
      command: process.execPath,
      args: [driverFile],
      hasChannel: true,
    });
    this.#child.on('message', (message: FromDriver) => {
      if (message.t === 'totals') this.#totals = message.totals;
    });
  }

  /** Starts a driver process in the client's namespace. */
  static async start(lab: Lab, name = 'clients'): Promise<ClientFleet> {
    const fleet = new ClientFleet(lab, name);
    await fleet.#expect('started', 20_000);
    return fleet;
  }

  /** The last totals the driver sent, at most a quarter of a second old. */
  get totals(): DriverTotals {
    return this.#totals;
  }

  /** Opens sessions and starts their traffic. */
  async open(clients: readonly ClientSpec[]): Promise<readonly OpenedClient[]> {
    this.#send({ t: 'open', clients });
    return (await this.#expect('opened', 60_000)).sessions;
  }

  /** Paced clients come and go at their own instants from now on. */
  plan(clients: readonly ClientSpec[]): void {
    this.#send({ t: 'plan', clients });
  }

  /** Stops traffic, waits for outstanding answers at most `drainMs`, and reports. */
  async finish(drainMs = 5000): Promise<readonly ClientReport[]> {
    this.#send({ t: 'finish', drainMs });
    return (await this.#expect('report', drainMs + 30_000)).clients;
  }

  /** Ends the process. */
  async close(): Promise<void> {
    await this.#lab.stop(this.name);
  }

  #send(message: ToDriver): void {
    this.#child.send(message);
  }

  async #expect<K extends FromDriver['t']>(kind: K, limitMs: number): Promise<Extract<FromDriver, { t: K }>> {
    const what = `client driver ${this.name} (see ${this.#lab.logFile(this.name)})`;
    return awaitMessage(this.#child, limitMs, what, (raw) => {
      const message = raw as FromDriver;
      if (message.t === 'failed') throw new RestitchError('peer_lost', message.message);
      return message.t === kind ? (message as Extract<FromDriver, { t: K }>) : undefined;
    });
  }
}
