/** What chaos works on: a laboratory under load whose daemon and endpoints may be killed and come back. */
import { setTimeout as sleep } from 'node:timers/promises';
import { RestitchError, toRestitchError } from '@restitch/core';
import type { ClientFleet } from '../client-fleet.js';
import type { Lab } from '../lab.js';
import { LabAdmin } from '../lab-admin.js';
import { accessPointName, awaitHealthy, startAccessPoint, startEndpoint } from '../start-parties.js';

/** Longest a laboratory may take to come to rest after a step. */
const settleLimitMs = 15_000;

/** A laboratory with clients, and the connection to its daemon of the moment. */
export class ChaosBed {
  readonly lab: Lab;
  readonly fleet: ClientFleet;
  readonly random: () => number;
  /** Session ids by client tag. */
  readonly sessionIds: readonly string[];
  /** Moves by outcome, or by the code with which they were refused. */
  readonly outcomes: Record<string, number> = {};
  #admin: LabAdmin;

  constructor(parts: {
    readonly lab: Lab;
    readonly fleet: ClientFleet;
    readonly admin: LabAdmin;
    readonly random: () => number;
    readonly sessionIds: readonly string[];
  }) {
    this.lab = parts.lab;
    this.fleet = parts.fleet;
    this.random = parts.random;
    this.sessionIds = parts.sessionIds;
    this.#admin = parts.admin;
  }

  get admin(): LabAdmin {
    return this.#admin;
  }

  get endpointNames(): readonly string[] {
    return this.lab.state.endpoints;
  }

  /** Moves a session and counts what came of it; never rejects, because a move that fails is an outcome. */
  async move(id: string, target?: string): Promise<void> {
    const outcome = await this.#admin.migrate(id, target).then(
      (record) => record.outcome,
      (error: unknown) => toRestitchError(error).code,
    );
    this.outcomes[outcome] = (this.outcomes[outcome] ?? 0) + 1;
  }

  /** Kills the daemon as `kill -9` does. */
  async killDaemon(): Promise<void> {
    this.#admin.close();
    await this.lab.stop(accessPointName, 'SIGKILL');
  }

  /** Starts the daemon again and waits until all endpoints are back. */
  async startDaemon(): Promise<void> {
    await startAccessPoint(this.lab);
    this.#admin = await LabAdmin.open(this.lab.plan);
    await awaitHealthy(this.lab, this.endpointNames);
  }

  async killEndpoint(name: string): Promise<void> {
    await this.lab.stop(name, 'SIGKILL');
  }

  async startEndpoint(name: string): Promise<void> {
    await startEndpoint(this.lab, this.lab.party(name));
    await awaitHealthy(this.lab, this.endpointNames);
  }

  /** Resolves when no move is under way. Throws `deadline_exceeded`. */
  async settle(): Promise<void> {
    const stepMs = 20;
    for (let waitedMs = 0; waitedMs < settleLimitMs; waitedMs += stepMs) {
      const { moves } = await this.#admin.status();
      if (moves.running + moves.waiting === 0) return;
      await sleep(stepMs);
    }
    throw new RestitchError('deadline_exceeded', `moves are still under way after ${settleLimitMs} ms`);
  }

  close(): void {
    this.#admin.close();
  }
}
