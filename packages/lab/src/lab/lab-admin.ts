/** The access point's admin interface as the laboratory uses it, with types. */
import { openAdminClient } from '@restitch/access-point';
import type { AdminClient } from '@restitch/access-point';
import { formatSocketAddress } from '@restitch/core';
import type {
  AdminCall,
  AnswerTo,
  DrainAnswer,
  EndpointAnswer,
  MoveAnswer,
  SessionAnswer,
  SessionTakeOverAnswer,
  StoryAnswer,
  TakeOverAnswer,
} from '@restitch/wire';
import { adminSocketOf } from './lab-config.js';
import type { LabPlan } from './lab-plan.js';

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

  status(): Promise<AnswerTo<'status'>> {
    return this.#client.call({ cmd: 'status' });
  }

  endpoints(): Promise<readonly EndpointAnswer[]> {
    return this.#client.call({ cmd: 'endpoints' });
  }

  /** All sessions, page by page. */
  async sessions(): Promise<SessionAnswer[]> {
    const limit = 10_000;
    const all: SessionAnswer[] = [];
    for (;;) {
      const page = await this.#client.call({ cmd: 'sessions', offset: all.length, limit });
      all.push(...page.sessions);
      if (page.sessions.length < limit) return all;
    }
  }

  story(sessionId: string): Promise<StoryAnswer> {
    return this.#client.call({ cmd: 'session', id: sessionId });
  }

  /** Moves a session; resolves with the last attempt's record, rejects if no move could begin. */
  async migrate(id: string, target?: string): Promise<MoveAnswer> {
    const more = target === undefined ? {} : { target };
    return (await this.#client.call({ cmd: 'migrate', id, ...more })).move;
  }

  /** Take-overs so far, oldest first. */
  takeOvers(): Promise<readonly TakeOverAnswer[]> {
    return this.#client.call({ cmd: 'take-overs' });
  }

  /** What became of each session whose endpoint died, oldest first. */
  sessionTakeOvers(): Promise<readonly SessionTakeOverAnswer[]> {
    return this.#client.call({ cmd: 'session-take-overs' });
  }

  /** Ended moves after `since`. */
  async moves(since: number): Promise<readonly MoveAnswer[]> {
    return (await this.#client.call({ cmd: 'moves', since, limit: 100_000 })).moves;
  }

  /** Drains an endpoint and resolves when it has no session left, or rejects. */
  drain(endpoint: string, onProgress?: (progress: DrainAnswer) => void): Promise<DrainAnswer> {
    return this.#client.call({ cmd: 'drain', endpoint, watch: true }, onProgress);
  }

  /** What the analytics say of themselves and of each endpoint; loads in CPUs. */
  analytics(): Promise<AnswerTo<'analytics.status'>> {
    return this.#client.call({ cmd: 'analytics.status' });
  }

  /** Says that an endpoint will be taken away for certain. */
  async notice(endpoint: string, inMs: number): Promise<void> {
    await this.#client.call({ cmd: 'notice', endpoint, what: 'preemption', inMs, cancel: false });
  }

  async undrain(endpoint: string): Promise<void> {
    await this.#client.call({ cmd: 'undrain', endpoint });
  }

  /** Moves wait at this step's door from now on. */
  async pause(step: Extract<AdminCall, { cmd: 'pause' }>['step']): Promise<void> {
    await this.#client.call({ cmd: 'pause', step });
  }

  async resume(): Promise<void> {
    await this.#client.call({ cmd: 'resume' });
  }

  /** Retransmission timeouts of all server sockets of an endpoint that live now. */
  async serverRtos(endpoint: string): Promise<number> {
    const { sessions } = await this.#client.call({ cmd: 'stats', endpoint });
    return sessions.reduce((sum, s) => sum + s.rtos, 0);
  }
}

/** The client's end of a flow as text, the key by which clients and sessions find each other. */
export function clientKey(address: string, port: number): string {
  return formatSocketAddress({ address, port });
}
