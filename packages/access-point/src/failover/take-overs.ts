/**
 * Giving a dead endpoint's sessions away: who has the newest replica, the switch of the record, the word to the buddy.
 * What nobody has is given up (lost-sessions.ts).
 *
 * The access point keeps no list of who is whose buddy: after a death it asks everybody what they have.
 */
import { RestitchError, toRestitchError } from '@restitch/core';
import type { Clock, Logger } from '@restitch/core';
import type { ReplicaReport, ReplyTo } from '@restitch/wire/internal';
import type { Dataplane, FlowChange, FlowChangeResult } from '@restitch/dataplane';
import { type NumberlessRequest, requestSlowly } from '../model/endpoint-link.js';
import type { Endpoint } from '../model/endpoint-registry.js';
import type { FlowBatch } from '../model/flow-batch.js';
import type { Loss, LostSessions } from './lost-sessions.js';
import type { Session, SessionRegistry } from '../model/session-registry.js';

/** What take-overs work with. */
export interface TakeOverDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly batch: FlowBatch;
  readonly dataplane: Pick<Dataplane, 'lookup'>;
  readonly sessions: SessionRegistry;
  readonly lost: LostSessions;
  readonly newId: () => string;
  /** Endpoints that may keep replicas: those that are not dead. */
  readonly members: () => readonly Endpoint[];
  /** True once the sessions of that process are being given away, or have been. */
  readonly hasDied: (instance: string) => boolean;
}

/** Takes in sessions that only replicas tell of; resolves with them. */
export type Adopt = (replicas: ReadonlyMap<string, Replica>) => Promise<readonly Session[]>;

/** How giving away has ended: `losses` of what nobody had are known when the clients have answered. */
export interface GivenAway {
  readonly taken: number;
  readonly losses: ReadonlyArray<Promise<Loss>>;
}

/** The newest replica of a session and who keeps it. */
export interface Replica {
  readonly buddy: Endpoint;
  readonly report: ReplicaReport;
}

/** moved: a planned move was faster, and its target serves. given-up: nobody has it. */
type Fate = { readonly t: 'taken' | 'moved' } | { readonly t: 'given-up'; readonly loss: Promise<Loss> };

/** How long after a failure the same is tried again. */
const lookMs = 20;
/** An endpoint that has not answered by then is asked again, until it is declared dead. */
const answerMs = 2000;
const askMs = 10_000;
/** Kept packets are written back within this many looks. */
const maxSwitchTries = 50;

/** Gives sessions away. */
export class TakeOvers {
  readonly #deps: TakeOverDeps;
  /** Sessions whose buddy was told to serve and has not answered, with the buddy's process. */
  readonly #waiting = new Map<Session, string>();

  constructor(deps: TakeOverDeps) {
    this.#deps = deps;
  }

  /** Gives all of them, and those that `adopt` finds, to whoever has the newest replica; resolves when each is served or given up. */
  async giveAway(orphans: readonly Session[], dead: Endpoint, adopt: Adopt): Promise<GivenAway> {
    const best = await this.#askForReplicas(dead);
    const giveAll = (sessions: readonly Session[]): Promise<Fate[]> =>
      Promise.all(sessions.map((session) => this.#giveOne(session, best.get(session.id), dead)));
    const fates = (await Promise.all([giveAll(orphans), adopt(best).then(giveAll)])).flat();
    return {
      taken: fates.filter(({ t }) => t === 'taken').length,
      losses: fates.flatMap((fate) => (fate.t === 'given-up' ? [fate.loss] : [])),
    };
  }

  /**
   * The newest replica of each session, by epoch and commit. An endpoint that lives is asked until it answers: an older
   * replica elsewhere must not be taken for the newest.
   */
  async #askForReplicas(dead: Endpoint): Promise<Map<string, Replica>> {
    const { clock, members } = this.#deps;
    const best = new Map<string, Replica>();
    const giveUpMs = clock.monotonicMs() + askMs;
    const others = members().filter((e) => e !== dead);
    await Promise.all(
      others.map(async (buddy) => {
        while (members().includes(buddy) && clock.monotonicMs() < giveUpMs) {
          const reports = await this.#ask(buddy, dead.name);
          for (const report of reports ?? []) keepNewest(best, { buddy, report });
          if (reports !== undefined) return;
        }
      }),
    );
    return best;
  }

  /** undefined: no answer. */
  async #ask(buddy: Endpoint, owner: string): Promise<readonly ReplicaReport[] | undefined> {
    try {
      const { replicas } = await this.#request(buddy, { t: 'replicas', owner });
      return replicas;
    } catch (error) {
      this.#deps.logger.warn(
        { endpoint: buddy.name, reason: (error as Error).message },
        'does not tell of its replicas',
      );
      await this.#pause();
      return undefined;
    }
  }

  /** Rejects as soon as the endpoint is known to be dead: silence is not waited out then. */
  async #request<T extends 'replicas' | 'take-over'>(
    to: Endpoint,
    request: NumberlessRequest<T>,
  ): Promise<ReplyTo<T>> {
    const { clock, members } = this.#deps;
    if (to.link === undefined) throw new RestitchError('peer_lost', `${to.name} has no control connection`);
    let cancel: () => void = () => undefined;
    const death = new Promise<never>((_, reject) => {
      const look = (): void => {
        if (members().includes(to)) cancel = clock.after(lookMs, look);
        else reject(new RestitchError('peer_lost', `${to.name} is dead`));
      };
      cancel = clock.after(lookMs, look);
    });
    try {
      return await Promise.race([requestSlowly(to.link, request, clock, answerMs), death]);
    } finally {
      cancel();
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => this.#deps.clock.after(lookMs, resolve));
  }

  /** Switches the record, then lets the buddy serve. A planned move of it sets the same record: one of them wins. */
  async #giveOne(session: Session, replica: Replica | undefined, dead: Endpoint): Promise<Fate> {
    if (this.#isElsewhere(session, dead)) return { t: 'moved' };
    const buddy = replica?.buddy;
    if (replica === undefined || buddy === undefined || replica.report.epoch !== session.epoch) {
      return this.#giveUp(session, dead, 'nobody has a replica');
    }
    const { lost } = this.#deps;
    const { flow, epoch } = session;
    const newEpoch = session.lastEpoch + 1;
    const result = await this.#switchOver({ op: 'switch', flow, epoch, endpointId: buddy.id, newEpoch });
    if (result !== 'ok') {
      if (this.#isElsewhere(session, dead)) return { t: 'moved' };
      // Its client has begun another connection from the same port, or none is left: nobody there waits for this one.
      if (result === 'stale' || result === 'absent') {
        lost.replaced(session, dead);
        return { t: 'moved' };
      }
      return this.#giveUp(session, dead, `its record is ${result}`);
    }
    this.#deps.sessions.setOwner(session, buddy, newEpoch);
    session.doubt = undefined;
    return this.letServe(session, buddy, dead);
  }

  /** A move that ended with its source may have let go of the record, or be about to: it is held again first. */
  async #switchOver(change: Extract<FlowChange, { op: 'switch' }>): Promise<FlowChangeResult> {
    const { clock, batch } = this.#deps;
    const { flow, epoch } = change;
    for (let tries = 1; ; tries++) {
      const deadlineNs = clock.monotonicNs() + BigInt(askMs) * 1_000_000n;
      batch.push({ op: 'hold', flow, epoch, deadlineNs }, () => undefined);
      const result = await this.#change(change);
      if (result !== 'phase' || tries >= maxSwitchTries) return result;
      await this.#pause();
    }
  }

  #isElsewhere(session: Session, dead: Endpoint): boolean {
    if (session.owner === dead) return false;
    session.isOrphan = false;
    return true;
  }

  /** Sessions that were given to this process and of which it has not said yet that it serves them: it died as well. */
  takeWaiting(instance: string): Session[] {
    const found = [...this.#waiting].filter(([, by]) => by === instance).map(([session]) => session);
    for (const session of found) this.#waiting.delete(session);
    return found;
  }

  /** The record names the buddy: tells it until it serves, refuses, or is dead itself; then its own take-over decides. */
  async letServe(session: Session, buddy: Endpoint, dead: Endpoint): Promise<Fate> {
    const { clock, batch, logger, newId, hasDied, lost, dataplane } = this.#deps;
    const instance = buddy.hello?.instance ?? '';
    this.#waiting.set(session, instance);
    const { id: sessionId, flow, epoch } = session;
    const moveId = newId();
    session.residesSinceMs = clock.monotonicMs();
    const isClientInDoubt = dataplane.lookup(flow)?.sawReset === true;
    while (this.#waiting.get(session) === instance) {
      try {
        await this.#request(buddy, {
          t: 'take-over',
          moveId,
          owner: dead.name,
          sessionId,
          epoch,
          ...(isClientInDoubt ? { isClientInDoubt } : {}),
        });
        this.#waiting.delete(session);
        session.isOrphan = false;
        batch.push({ op: 'release', flow, epoch });
        lost.note(session, { from: dead.name, to: buddy.name, outcome: 'taken' });
        return { t: 'taken' };
      } catch (thrown) {
        const error = toRestitchError(thrown);
        logger.error({ session: sessionId, buddy: buddy.name }, error.message);
        // An answer that is only missing may be a yes: the buddy is asked again, or its own death decides.
        const isSilence = error.code === 'peer_lost' || error.code === 'deadline_exceeded';
        const isUnclaimed = this.#waiting.get(session) === instance && hasDied(instance);
        if (!isSilence || isUnclaimed) {
          this.#waiting.delete(session);
          return this.#giveUp(session, dead, error.message);
        }
        await this.#pause();
      }
    }
    return { t: 'moved' };
  }

  #change(change: FlowChange): Promise<FlowChangeResult> {
    return new Promise((resolve) => this.#deps.batch.push(change, resolve));
  }

  #giveUp(session: Session, dead: Endpoint, reason: string): Fate {
    return { t: 'given-up', loss: this.#deps.lost.giveUp(session, dead, reason) };
  }
}

function keepNewest(best: Map<string, Replica>, candidate: Replica): void {
  const { report } = candidate;
  const known = best.get(report.id)?.report;
  const isNewer =
    known === undefined || report.epoch > known.epoch || (report.epoch === known.epoch && report.n > known.n);
  if (isNewer) best.set(report.id, candidate);
}
