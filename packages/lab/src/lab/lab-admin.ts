/** The access point's admin interface as the laboratory uses it, with types. */
import { openAdminClient } from '@restitch/access-point';
import type { AdminCall } from '@restitch/wire';
import type {
  AdminClient,
  DrainProgress,
  MoveRecord,
  SessionTakeOver,
  TakeOverRecord,
} from '@restitch/access-point';
import { formatSocketAddress } from '@restitch/core';
import type { Flow } from '@restitch/core';
import { adminSocketOf } from './lab-config.js';
import type { LabPlan } from './lab-plan.js';

/** A session as the access point lists it. */
export interface SessionLine {
  readonly id: string;
  readonly flow: Flow;
  readonly endpoint: string;
  readonly epoch: number;
  readonly moves: number;
  readonly move: { readonly id: string } | null;
  readonly doubt: string | null;
  /** Who keeps its replica, and the same name again once it is there; null at level none. */
  readonly buddy: string | null;
  readonly cheapTarget: string | null;
}

/** An endpoint as the access point lists it. */
export interface EndpointLine {
  readonly name: string;
  readonly liveness: string;
  readonly state: string;
  readonly sessions: number;
  /** Its own figures, from its last heartbeat. */
  readonly counters: Readonly<Record<string, number>>;
  /** null: it takes no part in crash protection. */
  readonly replication: {
    readonly protectedSessions: number;
    readonly degradedSessions: number;
    readonly pendingSessions: number;
    readonly replicas: number;
    readonly replicaBytes: number;
    readonly replicatedBytes: number;
    readonly commitDelayMs: { readonly p50: number; readonly p99: number };
    readonly addedLatencyMs: { readonly p50: number; readonly p99: number };
  } | null;
}

/** What the daemon says of itself. */
export interface DaemonStatus {
  readonly pid: number;
  readonly sessions: number;
  readonly moves: { readonly running: number; readonly waiting: number; readonly lastSeq: number };
  readonly doubts: number;
  readonly dataplane: {
    readonly flows: number;
    readonly heldBytes: number;
    readonly heldDropped: number;
    readonly verdicts: Readonly<Record<string, number>>;
  };
  readonly counters: Readonly<Record<string, number>>;
}

/** What the analytics say of themselves and of each endpoint; loads in CPUs. */
export interface AnalyticsStatus {
  readonly engine: {
    readonly rule?: string;
    readonly configuredRule?: string;
    readonly endpoints?: ReadonlyArray<{
      readonly name: string;
      readonly sessions: number;
      readonly score?: number;
      readonly load?: number | null;
      readonly p50?: number | null;
      readonly p90?: number | null;
      readonly cores?: number;
    }>;
  };
}

/** One session's record and moves. */
export interface SessionStory {
  readonly session: SessionLine | null;
  readonly record: { readonly endpoint: string; readonly epoch: number; readonly phase: string } | null;
  readonly moves: readonly MoveRecord[];
}

/** A connection to the daemon of one laboratory. */
export class LabAdmin {
  readonly #client: AdminClient;

  private constructor(client: AdminClient) {
    this.#client = client;
  }

  /** Connects. Throws `peer_lost` if the daemon does not run. */
  static async open(plan: LabPlan): Promise<LabAdmin> {
    return new LabAdmin(await openAdminClient(adminSocketOf(plan)));
  }

  close(): void {
    this.#client.close();
  }

  async status(): Promise<DaemonStatus> {
    return (await this.#call({ cmd: 'status' })) as DaemonStatus;
  }

  async endpoints(): Promise<readonly EndpointLine[]> {
    return (await this.#call({ cmd: 'endpoints' })) as EndpointLine[];
  }

  /** All sessions, page by page. */
  async sessions(): Promise<SessionLine[]> {
    const limit = 10_000;
    const all: SessionLine[] = [];
    for (;;) {
      const page = (await this.#call({ cmd: 'sessions', offset: all.length, limit })) as {
        total: number;
        sessions: SessionLine[];
      };
      all.push(...page.sessions);
      if (page.sessions.length < limit) return all;
    }
  }

  async story(sessionId: string): Promise<SessionStory> {
    return (await this.#call({ cmd: 'session', id: sessionId })) as SessionStory;
  }

  /** Moves a session; resolves with the last attempt's record, rejects if no move could begin. */
  async migrate(id: string, target?: string): Promise<MoveRecord> {
    const answer = await this.#call({ cmd: 'migrate', id, ...(target === undefined ? {} : { target }) });
    return (answer as { move: MoveRecord }).move;
  }

  /** Take-overs so far, oldest first. */
  async takeOvers(): Promise<readonly TakeOverRecord[]> {
    return (await this.#call({ cmd: 'take-overs' })) as TakeOverRecord[];
  }

  /** What became of each session whose endpoint died, oldest first. */
  async sessionTakeOvers(): Promise<readonly SessionTakeOver[]> {
    return (await this.#call({ cmd: 'session-take-overs' })) as SessionTakeOver[];
  }

  /** Ended moves after `since`. */
  async moves(since: number): Promise<readonly MoveRecord[]> {
    return ((await this.#call({ cmd: 'moves', since, limit: 100_000 })) as { moves: MoveRecord[] }).moves;
  }

  /** Drains an endpoint and resolves when it has no session left, or rejects. */
  async drain(endpoint: string, onProgress?: (progress: DrainProgress) => void): Promise<DrainProgress> {
    const answer = await this.#client.call({ cmd: 'drain', endpoint, watch: true }, (event) =>
      onProgress?.(event as DrainProgress),
    );
    return answer as DrainProgress;
  }

  async analytics(): Promise<AnalyticsStatus> {
    return (await this.#call({ cmd: 'analytics.status' })) as AnalyticsStatus;
  }

  /** Says that an endpoint will be taken away for certain. */
  async notice(endpoint: string, inMs: number): Promise<void> {
    await this.#call({ cmd: 'notice', endpoint, what: 'preemption', inMs, cancel: false });
  }

  async undrain(endpoint: string): Promise<void> {
    await this.#call({ cmd: 'undrain', endpoint });
  }

  /** Moves wait at this step's door from now on. */
  async pause(step: Extract<AdminCall, { cmd: 'pause' }>['step']): Promise<void> {
    await this.#call({ cmd: 'pause', step });
  }

  async resume(): Promise<void> {
    await this.#call({ cmd: 'resume' });
  }

  /** Retransmission timeouts of all server sockets of an endpoint that live now. */
  async serverRtos(endpoint: string): Promise<number> {
    const answer = (await this.#call({ cmd: 'stats', endpoint })) as { sessions: Array<{ rtos: number }> };
    return answer.sessions.reduce((sum, s) => sum + s.rtos, 0);
  }

  #call(request: AdminCall): Promise<unknown> {
    return this.#client.call(request);
  }
}

/** The client's end of a flow as text, the key by which clients and sessions find each other. */
export function clientKey(address: string, port: number): string {
  return formatSocketAddress({ address, port });
}
