/** Tells the engine who is there: endpoints and sessions as they change, and everything at once to an engine that starts. */
import type { Clock } from '@restitch/core';
import type { EngineInput, FleetEndpoint } from '@restitch/analytics';
import type { EndpointConfig } from '../config/index.js';
import type { Endpoint, EndpointRegistry } from '../model/endpoint-registry.js';
import { isThrough } from '../model/session-registry.js';
import type { Session, SessionRegistry } from '../model/session-registry.js';
import type { InputHub } from './input-hub.js';

/** What it reads and where it tells. */
export interface FleetTellerDeps {
  readonly endpoints: EndpointRegistry;
  readonly sessions: SessionRegistry;
  readonly inputs: InputHub;
  readonly clock: Clock;
  readonly endpointConfig: () => readonly EndpointConfig[];
  /** Where a client is; undefined: unknown. */
  readonly locationOf?: (address: string) => string | undefined;
}

/** See the head of the file. */
export class FleetTeller {
  readonly #deps: FleetTellerDeps;
  /** Notices in force, for an engine that starts anew. */
  readonly #notices = new Map<string, EngineInput>();
  /** When each endpoint was first seen to take sessions; those of the beginning have no time. */
  readonly #joined = new Map<string, number | undefined>();
  readonly #startedAtMs: number;
  #told = '';

  constructor(deps: FleetTellerDeps) {
    this.#deps = deps;
    this.#startedAtMs = deps.clock.monotonicMs();
  }

  start(): void {
    const { sessions, inputs } = this.#deps;
    // For the engine a session ends with its application: what only delivers its rest is no load worth moving.
    const tell = (session: Session, what: 'opened' | 'ended' | 'moved' | 'pinned' | 'unpinned'): void => {
      if (!isThrough(session)) inputs.push(this.#about(session, what));
    };
    const open = (session: Session): void => {
      tell(session, 'opened');
      if (session.pinned !== undefined) tell(session, 'pinned');
    };
    sessions.watch({
      added: open,
      removed: (session) => tell(session, 'ended'),
      moved: (session) => tell(session, 'moved'),
      buddy: (session) => tell(session, 'opened'),
      pinned: (session) => tell(session, session.pinned === undefined ? 'unpinned' : 'pinned'),
      closing: (session) => {
        if (!isThrough(session)) open(session);
        else inputs.push(this.#about(session, 'ended'));
      },
    });
  }

  close(): void {
    this.#deps.sessions.watch(undefined);
  }

  /** Hears what others tell the engine, to be able to tell it again. */
  note(input: EngineInput): void {
    if (input.kind !== 'notice') return;
    if (input.what === 'none') this.#notices.delete(input.endpoint);
    else this.#notices.set(input.endpoint, input);
  }

  /** Tells the fleet if it is not as it was told last. */
  tellChanges(nowMs: number): void {
    const fleet = this.#fleet();
    const text = JSON.stringify(fleet);
    if (text === this.#told) return;
    this.#told = text;
    this.#deps.inputs.push({ kind: 'fleet', atMs: nowMs, endpoints: fleet });
  }

  /** All there is, for an engine that knows nothing. */
  everything(): EngineInput[] {
    const nowMs = this.#deps.clock.monotonicMs();
    const inputs: EngineInput[] = [{ kind: 'fleet', atMs: nowMs, endpoints: this.#fleet() }];
    for (const session of this.#deps.sessions.all()) {
      if (isThrough(session)) continue;
      inputs.push(this.#about(session, 'opened'));
      if (session.pinned !== undefined) inputs.push(this.#about(session, 'pinned'));
    }
    inputs.push(...this.#notices.values(), ...this.#deps.inputs.current());
    return inputs;
  }

  #fleet(): FleetEndpoint[] {
    const configured = new Map(this.#deps.endpointConfig().map((e) => [e.name, e]));
    return this.#deps.endpoints
      .all()
      .map((endpoint) => this.#describe(endpoint, configured.get(endpoint.name)));
  }

  #describe(endpoint: Endpoint, configured: EndpointConfig | undefined): FleetEndpoint {
    const { name, hello } = endpoint;
    const accepts = endpoint.isAccepting;
    if (accepts && !this.#joined.has(name)) {
      const nowMs = this.#deps.clock.monotonicMs();
      // Who is there within the first seconds of the daemon was there before it.
      this.#joined.set(name, nowMs - this.#startedAtMs < settleMs ? undefined : nowMs);
    }
    const joinedAtMs = this.#joined.get(name);
    const labels = { ...hello?.protection?.labels, ...configured?.labels };
    const capacitySessions = configured?.capacitySessions ?? hello?.capacitySessions;
    return {
      name,
      accepts,
      ...(Object.keys(labels).length === 0 ? {} : { labels }),
      ...(capacitySessions === undefined ? {} : { capacitySessions }),
      ...(joinedAtMs === undefined ? {} : { joinedAtMs }),
      ...(configured?.scores?.enter === undefined ? {} : { enterScore: configured.scores.enter }),
      ...(configured?.scores?.leave === undefined ? {} : { leaveScore: configured.scores.leave }),
    };
  }

  #about(session: Session, what: Extract<EngineInput, { kind: 'session' }>['what']): EngineInput {
    const { clock } = this.#deps;
    const base = { kind: 'session', atMs: clock.monotonicMs(), what, session: session.id } as const;
    const endpoint = session.owner.name;
    const end = session.end ?? (isThrough(session) ? 'closed' : undefined);
    if (what === 'ended' && end !== undefined) return { ...base, endpoint, end };
    if (what !== 'opened') return { ...base, endpoint };
    const location = this.#deps.locationOf?.(session.flow.client.address);
    const listener = session.owner.listenerFor(session.flow.vip);
    return {
      ...base,
      endpoint,
      client: session.flow.client.address,
      ageMs: Math.max(0, clock.wallMs() - session.openedAtMs),
      ...(listener === undefined ? {} : { listener }),
      ...(location === undefined ? {} : { location }),
      ...(session.buddy?.isReady === true ? { buddy: session.buddy.name } : {}),
    };
  }
}

/** Endpoints reconnect to a daemon that was restarted within this time. */
const settleMs = 10_000;
