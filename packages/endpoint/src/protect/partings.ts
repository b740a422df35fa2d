/**
 * Sessions that their applications have ended at level periodic: whoever has a replica forgets it before our FIN leaves.
 * A successor would go on writing behind an end that the client has seen, while this host's kernel delivers the rest.
 */
import type { ReplicatedSession } from './replicated-session.js';

/** What telling an endpoint needs. */
export interface PartingHost {
  /** Says nothing while there is no connection: `linkUp` says it again. */
  readonly forget: (buddy: string, id: string, epoch: number) => void;
  /** True if that endpoint may still have replicas. */
  readonly isPeer: (name: string) => boolean;
}

interface Parting {
  readonly id: string;
  readonly epoch: number;
  readonly holders: Set<string>;
  readonly done: () => void;
}

/** The partings under way. */
export class Partings {
  readonly #host: PartingHost;
  readonly #all = new Map<string, Parting>();

  constructor(host: PartingHost) {
    this.#host = host;
  }

  /** `done` runs once nobody has a replica of it any more: at once if nobody had. */
  begin(owned: ReplicatedSession, done: () => void): void {
    const { id, epoch } = owned.session;
    const had = owned.owner.n > 0 ? [...owned.formerBuddies, owned.buddy ?? ''] : [];
    const holders = new Set(had.filter((name) => this.#host.isPeer(name)));
    if (holders.size === 0) return done();
    this.#all.set(id, { id, epoch, holders, done });
    for (const name of holders) this.#host.forget(name, id, epoch);
  }

  /** That endpoint has none any more. */
  forgotten(name: string, id: string, epoch: number): void {
    const parting = this.#all.get(id);
    if (parting?.epoch === epoch) this.#without(parting, name);
  }

  /** A new connection to it: what was said over the one before may not have arrived. */
  linkUp(name: string): void {
    for (const { id, epoch, holders } of this.#all.values())
      if (holders.has(name)) this.#host.forget(name, id, epoch);
  }

  /** Who is an endpoint has changed: a dead one's replicas are none. */
  peersChanged(): void {
    for (const parting of [...this.#all.values()])
      for (const name of [...parting.holders]) if (!this.#host.isPeer(name)) this.#without(parting, name);
  }

  /** Its connection is over. */
  drop(id: string): void {
    this.#all.delete(id);
  }

  #without(parting: Parting, name: string): void {
    parting.holders.delete(name);
    if (parting.holders.size > 0 || this.#all.get(parting.id) !== parting) return;
    this.#all.delete(parting.id);
    parting.done();
  }
}
