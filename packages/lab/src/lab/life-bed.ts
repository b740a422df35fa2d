/**
 * Phase clients in an experiment with faults: puts them there, chooses a victim on which many stand in their phase, fills
 * its accept queue, and lets others connect in the moment of its death.
 */
import { readFileSync } from 'node:fs';
import { inNetworkNamespace, listTcpSockets } from '@restitch/sys';
import { tcpState } from '@restitch/sys/internal';
import { parseReceipts } from '../load/apps/tail-app.js';
import type { TailReceipt } from '../load/apps/tail-app.js';
import { monotonicMs } from '../load/clients/monotonic.js';
import type { CrashLevel } from './crash-levels.js';
import type { Lab } from './lab.js';
import { protectedPorts } from './lab-plan.js';
import { LifeFleet } from './life-fleet.js';
import { inPhaseAtLeast } from '../load/lives/kinds-report.js';
import type { LifeFault, LifeRun, ServerSocket } from '../load/lives/kinds-report.js';
import { standingKinds } from '../load/lives/life-kinds.js';
import type { LifeKind, MomentKind, StandingKind } from '../load/lives/life-kinds.js';
import type { LifeVisit } from '../load/lives/life-messages.js';
import { signalProcess } from './process-identity.js';
import { pickOne } from '../load/seeded-random.js';

/** What phase clients a run has. */
export interface LifeBedOptions {
  readonly count: number;
  readonly kinds: readonly LifeKind[];
  readonly level: CrashLevel;
  readonly seed: number;
  readonly ipv6: boolean;
}

/** How to strike. */
export interface Aim {
  readonly victim: string;
  /** Strike then: visitors come just before and after it. */
  readonly atMs: number;
  readonly sockets: LifeFault['sockets'];
}

const tailPorts: Readonly<Record<CrashLevel, number>> = {
  none: protectedPorts.tailNone,
  periodic: protectedPorts.tailPeriodic,
  commit: protectedPorts.tail,
};

/** Where the application with all ends listens at that level. */
export function tailPortOf(level: CrashLevel): number {
  return tailPorts[level];
}

/** Visitors of each kind at a fault, at most: a third of them meets the victim. */
const mostVisitors = 12;
/** Connections that a stopped process is to have in its queue stand after that. */
const queueMs = 80;
/** From the last look to the strike, so that nobody is late for it. */
const leadMs = 15;
/** Connects of a burst are spread over that, from a little before the strike on. */
const burst = { beforeMs: 5, spreadMs: 40 } as const;
/** All states in which a connection stands. */
const connected = Object.values(tcpState).filter(
  (state) => state !== tcpState.listen && state !== tcpState.timeWait && state !== tcpState.close,
);

/** A laboratory's phase clients. */
export class LifeBed {
  readonly #lab: Lab;
  readonly #options: LifeBedOptions;
  readonly #fleet: LifeFleet;
  readonly #faults: LifeFault[] = [];
  /** How often each kind was met in its phase so far. */
  readonly #met = new Map<LifeKind, number>();
  #visits = 0;

  private constructor(lab: Lab, options: LifeBedOptions, fleet: LifeFleet) {
    this.#lab = lab;
    this.#options = options;
    this.#fleet = fleet;
  }

  /** Starts the driver and its clients, kinds in turn; undefined if there are none. */
  static async start(lab: Lab, options: LifeBedOptions): Promise<LifeBed | undefined> {
    if (options.count === 0 || options.kinds.length === 0) return undefined;
    const fleet = await LifeFleet.start(lab, `phase-clients-${options.level}`);
    const bed = new LifeBed(lab, options, fleet);
    const kinds = standingKinds.filter((kind) => options.kinds.includes(kind));
    if (kinds.length > 0) fleet.keep(bed.#slots(kinds), options.seed);
    return bed;
  }

  /** An endpoint of `serving` on which kinds stand in their phase that were met least. */
  async chooseVictim(serving: readonly string[], random: () => number): Promise<string> {
    const { lives } = await this.#fleet.look();
    const scores = serving.map((name) => {
      const sockets = listServerSockets(this.#lab, name, this.#options.level);
      const here = lives.filter((life) => life.isInPhase && sockets.has(life.localPort));
      return here.reduce(
        (sum, { kind }) => sum + Math.max(1, inPhaseAtLeast - (this.#met.get(kind) ?? 0)),
        0,
      );
    });
    const best = Math.max(...scores);
    // Not always the fullest: who has just come back is to be hit as well.
    const good = serving.filter((_, i) => (scores[i] ?? 0) >= best * 0.6);
    return pickOne(random, good) ?? 'a';
  }

  /**
   * Sets everything up for a fault there. `hasQueue`: the process stands still from here on, and connections wait in its
   * accept queue.
   */
  async aim(victim: string, hasQueue = true): Promise<Aim> {
    const process = this.#lab.findProcess(victim);
    const queue = hasQueue ? this.#visitors('accept-queue') : [];
    // It accepts nothing from here on; its kernel does.
    if (queue.length > 0 && process !== undefined) signalProcess(process, 'SIGSTOP');
    this.#fleet.visit(queue, { atMs: 0, spreadMs: 0, seed: this.#options.seed });
    const seen = (await this.#fleet.look(queue.length > 0 ? queueMs : 0)).lives;
    const atMs = monotonicMs() + leadMs;
    this.#fleet.visit(this.#visitors('connect-burst'), {
      atMs: atMs - burst.beforeMs,
      spreadMs: burst.spreadMs,
      seed: this.#options.seed + this.#visits,
    });
    const sockets = listServerSockets(this.#lab, victim, this.#options.level);
    for (const { kind, localPort, isInPhase } of seen) {
      if (isInPhase && sockets.has(localPort)) this.#met.set(kind, (this.#met.get(kind) ?? 0) + 1);
    }
    return { victim, atMs, sockets };
  }

  /** The fault has happened at that instant. */
  note(aim: Pick<Aim, 'victim' | 'sockets'>, atMs: number, isDeath: boolean): void {
    this.#faults.push({ atMs, victim: aim.victim, sockets: aim.sockets, isDeath });
  }

  /** What the endpoints have now, for faults that nobody aims at. */
  sockets(name: string): Map<number, ServerSocket> {
    return listServerSockets(this.#lab, name, this.#options.level);
  }

  /** Local ports of the connections that its clients have. */
  clientPorts(): Set<number> {
    const port = tailPortOf(this.#options.level);
    const inside = `/run/netns/${this.#lab.plan.client.namespace}`;
    const all = inNetworkNamespace(inside, () => listTcpSockets(connected));
    return new Set(all.filter((s) => s.remote.port === port).map((s) => s.local.port));
  }

  get level(): CrashLevel {
    return this.#options.level;
  }

  /** The longest that a client has been owed something now. */
  async longestOwedMs(): Promise<number> {
    return (await this.#fleet.look()).longestOwedMs;
  }

  /** Lets all of them come to their ends, and gathers what is known. */
  async finish(drainMs: number): Promise<LifeRun> {
    const records = await this.#fleet.finish(drainMs);
    return { records, faults: this.#faults, receipts: this.#receipts() };
  }

  async close(): Promise<void> {
    await this.#fleet.close();
  }

  #slots(kinds: readonly StandingKind[]): Parameters<LifeFleet['keep']>[0] {
    return Array.from({ length: this.#options.count }, (_, i) => ({
      kind: kinds[i % kinds.length] ?? 'slow-reader',
      tag: `${this.#options.level[0]}${i}`,
      ...this.#server(),
    }));
  }

  #server(): { address: string; port: number } {
    const { ipv6, level } = this.#options;
    const { vipIpv4, vipIpv6 } = this.#lab.plan;
    return { address: ipv6 ? vipIpv6 : vipIpv4, port: tailPortOf(level) };
  }

  #visitors(kind: MomentKind): LifeVisit[] {
    if (!this.#options.kinds.includes(kind)) return [];
    const count = Math.min(mostVisitors, this.#options.count);
    return Array.from({ length: count }, () => ({
      kind,
      tag: `${this.#options.level[0]}v${this.#visits++}`,
      ...this.#server(),
    }));
  }

  #receipts(): TailReceipt[] {
    return this.#lab.state.endpoints.flatMap((name) =>
      parseReceipts(readFileSync(this.#lab.logFile(name), 'utf8')),
    );
  }
}

/** True for the ports at which phase clients are served. */
export function isTailPort(port: number): boolean {
  return Object.values(tailPorts).includes(port);
}

/** Sockets of the phase clients' servers of one level at an endpoint, by client port. */
export function listServerSockets(lab: Lab, name: string, level: CrashLevel): Map<number, ServerSocket> {
  const all = inNetworkNamespace(`/run/netns/${lab.party(name).namespace}`, () => listTcpSockets(connected));
  return new Map(
    all
      .filter((s) => s.local.port === tailPorts[level])
      .map(({ remote, state, sendQueueBytes, inode }) => [
        remote.port,
        {
          state,
          sendQueueBytes,
          isHeld: inode !== 0,
          isAccepted: inode !== 0 || isOrphaned(state),
        },
      ]),
  );
}

/** A socket that nobody holds and that is closing was accepted once; one that is not closing never. */
function isOrphaned(state: number): boolean {
  return state !== tcpState.established && state !== tcpState.closeWait;
}
