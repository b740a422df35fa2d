/**
 * Phase clients in chaos, some at level commit and some at none: what was done to their servers, and what they say in the
 * end. They come and go, so nothing of them is awaited one by one.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ownFinStates, tcpState } from '@restitch/sys/internal';
import type { SessionAnswer } from '@restitch/wire';
import { monotonicMs } from '../../load/clients/monotonic.js';
import type { Lab } from '../lab.js';
import { isTailPort, LifeBed } from '../life-bed.js';
import { countKinds, findLifeFaults } from '../../load/lives/kinds-report.js';
import type { KindsReport, LifeFault, LifeFinding, ServerSocket } from '../../load/lives/kinds-report.js';
import { lifeKinds } from '../../load/lives/life-kinds.js';
import type { LifeKind } from '../../load/lives/life-kinds.js';

/** What they say in the end. */
export interface ChaosLivesReport {
  readonly kinds: KindsReport;
  readonly findings: readonly LifeFinding[];
}

/**
 * As for clients that only talk. Faults of steps that follow each other add up (a stopped process is noticed after 2 s, a
 * lease lapses while the daemon is away), and TCP has doubled its timeout meanwhile.
 */
const silentLimitMs = 8000;

/** Phase clients at two levels. */
export class ChaosLives {
  readonly #beds: readonly LifeBed[];
  readonly #endpoints: readonly string[];
  #sessionIds: readonly string[] = [];
  /** Where they were when the step began. */
  #before = new Map<LifeBed, Map<string, LifeFault['sockets']>>();
  #beganAtMs = 0;

  private constructor(beds: readonly LifeBed[], endpoints: readonly string[]) {
    this.#beds = beds;
    this.#endpoints = endpoints;
  }

  /** Starts `count` of them, two thirds at level commit. */
  static async start(
    lab: Lab,
    options: { readonly count: number; readonly kinds: readonly LifeKind[]; readonly seed: number },
  ): Promise<ChaosLives> {
    const { count, kinds, seed } = options;
    const unprotected = Math.floor(count / 3);
    const shared = { kinds, seed, ipv6: false };
    const beds = [
      await LifeBed.start(lab, { ...shared, level: 'commit', count: count - unprotected }),
      await LifeBed.start(lab, { ...shared, level: 'none', count: unprotected }),
    ];
    return new ChaosLives(
      beds.filter((bed) => bed !== undefined),
      lab.state.endpoints,
    );
  }

  /** Their sessions, as of the beginning of the step. */
  get sessionIds(): readonly string[] {
    return this.#sessionIds;
  }

  /** A step begins. */
  noteOwners(sessions: readonly SessionAnswer[]): void {
    this.#sessionIds = sessions.filter((s) => isTailPort(s.flow.vip.port)).map((s) => s.id);
    this.#beganAtMs = monotonicMs();
    this.#before = new Map(
      this.#beds.map((bed) => [bed, new Map(this.#endpoints.map((name) => [name, bed.sockets(name)]))]),
    );
  }

  /** Visitors come to an endpoint that is about to die; resolves when it is to be struck. */
  async aim(name: string, hasQueue: boolean): Promise<void> {
    let atMs = 0;
    for (const bed of this.#beds) atMs = (await bed.aim(name, hasQueue)).atMs;
    await sleep(Math.max(0, atMs - monotonicMs()));
  }

  /** An endpoint dies now. */
  noteDeath(name: string): void {
    for (const bed of this.#beds) bed.note({ victim: name, sockets: bed.sockets(name) }, monotonicMs(), true);
  }

  /** An endpoint was declared dead in this step, and nobody had struck it. */
  noteSilentDeath(name: string): void {
    for (const bed of this.#beds) {
      const sockets = this.#before.get(bed)?.get(name) ?? new Map();
      bed.note({ victim: name, sockets }, this.#beganAtMs, true);
    }
  }

  /**
   * Client ports of their servers' sockets at an endpoint. Without what a kernel keeps for a minute of its own accord: a
   * connection that nobody holds and whose client is gone, without a FIN (it was reset while this host was cut off).
   */
  socketPorts(name: string): Set<number> {
    return new Set(
      this.#beds.flatMap((bed) => {
        const clients = bed.clientPorts();
        const isLeft = ([port, socket]: [number, ServerSocket]): boolean =>
          !socket.isHeld && socket.state === tcpState.finWait2 && !clients.has(port);
        return [...bed.sockets(name)].filter((entry) => !isLeft(entry)).map(([port]) => port);
      }),
    );
  }

  /** Client ports of connections below commit that a kernel finishes alone: a new daemon does not list them. */
  finishingPorts(name: string): Set<number> {
    const beds = this.#beds.filter((bed) => bed.level !== 'commit');
    const sockets = beds.flatMap((bed) => [...bed.sockets(name)]);
    return new Set(
      sockets.filter(([, s]) => !s.isHeld && ownFinStates.includes(s.state)).map(([port]) => port),
    );
  }

  /** Who waits for longer than its level allows. */
  async findSilent(): Promise<string[]> {
    const found: string[] = [];
    for (const bed of this.#beds) {
      const owedMs = await bed.longestOwedMs();
      if (owedMs > silentLimitMs)
        found.push(`a phase client at level ${bed.level} has got nothing for ${Math.round(owedMs)} ms`);
    }
    return found;
  }

  /** Lets all of them come to their ends. */
  async finish(drainMs: number): Promise<ChaosLivesReport> {
    const runs = await Promise.all(
      this.#beds.map(async (bed) => ({ level: bed.level, run: await bed.finish(drainMs) })),
    );
    // Each has noted the same faults with its own sockets, and ports of both may be the same: phases are counted apart.
    const all = { records: runs.flatMap(({ run }) => run.records), receipts: runs[0]?.run.receipts ?? [] };
    return {
      kinds: mergeKinds(
        runs.map(({ run }) => countKinds(run)),
        countKinds({ ...all, faults: [] }),
      ),
      findings: runs.flatMap(({ level, run }) => findLifeFaults(run, level, { silentMs: silentLimitMs })),
    };
  }

  async close(): Promise<void> {
    for (const bed of this.#beds) await bed.close();
  }
}

/** Counts of all records, with the phases of each part added up. */
function mergeKinds(parts: readonly KindsReport[], all: KindsReport): KindsReport {
  return Object.fromEntries(
    lifeKinds.flatMap((kind) => {
      const counts = all[kind];
      if (counts === undefined) return [];
      const own = parts.flatMap((part) => (part[kind] === undefined ? [] : [part[kind]]));
      const serverStates: Record<string, number> = {};
      for (const part of own)
        for (const [state, n] of Object.entries(part.serverStates))
          serverStates[state] = (serverStates[state] ?? 0) + n;
      return [[kind, { ...counts, serverStates, inPhase: own.reduce((sum, part) => sum + part.inPhase, 0) }]];
    }),
  );
}
