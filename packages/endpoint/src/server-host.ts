/** What a server needs of the endpoint it belongs to. */
import type { ResolvedEndpointOptions } from './options.js';
import type { Server } from './server.js';
import type { Protection } from './protect/protection.js';
import type { Session } from './session/session.js';

/** An endpoint as its servers see it. */
export interface ServerHost {
  readonly options: ResolvedEndpointOptions;
  readonly sessions: Iterable<Session>;
  /** Crash protection, if this host has an agent. */
  readonly protection: Protection | undefined;
  /** The server listens: the access point is to know. */
  register(server: Server): Promise<void>;
  unregister(server: Server): void;
  /** The session is served here from now on. */
  sessionOpened(session: Session): void;
  /** The client's acknowledgement was seen after a move to here. */
  confirmed(moveId: string, serverRtos: number): void;
}
