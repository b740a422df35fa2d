/** The demo's stage: a laboratory with its clients and transfers, and the numbers that are shown of it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { toRestitchError } from '@restitch/core';
import type { MoveAnswer, SessionAnswer } from '@restitch/wire';
import type { ClientFleet } from '../lab/client-fleet.js';
import type { Lab } from '../lab/lab.js';
import type { LabAdmin } from '../lab/lab-admin.js';
import type { CrashNote } from './crash-act.js';
import type { DemoView } from './demo-view.js';
import type { Transfer } from './http-clients.js';

const frameMs = 250;

/** Everything the acts work with. */
export class DemoStage {
  readonly lab: Lab;
  readonly fleet: ClientFleet;
  readonly admin: LabAdmin;
  readonly view: DemoView;
  readonly pace: number;
  readonly random: () => number;
  readonly records: MoveAnswer[] = [];
  readonly refused: Record<string, number> = {};
  readonly transfers: Transfer[] = [];
  /** Set by the act in which a server is killed under its clients. */
  crash: CrashNote | undefined;

  constructor(parts: Pick<DemoStage, 'lab' | 'fleet' | 'admin' | 'view' | 'pace' | 'random'>) {
    this.lab = parts.lab;
    this.fleet = parts.fleet;
    this.admin = parts.admin;
    this.view = parts.view;
    this.pace = parts.pace;
    this.random = parts.random;
  }

  /** A pause of the show. */
  async rest(forMs: number): Promise<void> {
    await sleep(forMs * this.pace);
  }

  /** Shows the numbers until `work` is done; rejects as it does. */
  async showWhile<T>(work: Promise<T>): Promise<T> {
    let isDone = false;
    const settled = work.finally(() => {
      isDone = true;
    });
    // Its rejection is seen at the end; without this it would be unhandled while frames are drawn.
    settled.catch(() => undefined);
    while (!isDone) {
      await this.showFrame();
      await Promise.race([sleep(frameMs), settled.catch(() => undefined)]);
    }
    await this.showFrame();
    return settled;
  }

  /** Collects moves that drains made, so that the summary has all of them. */
  async collectMoves(): Promise<void> {
    const known = this.records.reduce((seq, record) => Math.max(seq, record.seq), 0);
    this.records.push(...(await this.admin.moves(known)));
  }

  /** Moves a session; that it fails is part of the show. */
  async move(session: SessionAnswer, target?: string): Promise<void> {
    await this.admin.migrate(session.id, target).catch((error: unknown) => {
      const { code } = toRestitchError(error);
      this.refused[code] = (this.refused[code] ?? 0) + 1;
    });
  }

  async showFrame(): Promise<void> {
    await this.collectMoves();
    const count = (pick: (r: MoveAnswer) => string, name: string): number =>
      this.records.filter((r) => r.outcome === 'committed' && pick(r) === name).length;
    const endpoints = (await this.admin.endpoints()).map(({ name, state, sessions }) => ({
      name,
      state,
      sessions,
      movedIn: count((r) => r.target, name),
      movedOut: count((r) => r.source, name),
    }));
    this.view.frame({
      endpoints: endpoints.toSorted((x, y) => (x.name < y.name ? -1 : 1)),
      totals: this.fleet.totals,
      transferredBytes: this.transfers.reduce((sum, t) => sum + t.doneBytes(), 0),
      moves: {
        committed: this.records.filter((r) => r.outcome === 'committed').length,
        reverted: this.records.filter((r) => r.outcome === 'reverted').length,
      },
    });
  }
}
