/**
 * What a mutual TLS message connection is to the parties on it.
 *
 * Messages are plain values (msgpack on the wire, a 4-byte big-endian length before each); all that are sent in one
 * turn of the event loop leave in one TLS write. Who the peer is comes from its certificate and nothing else.
 */

/** Roles as they stand in the URI SAN: `restitch://<cluster>/<role>/<name>`. */
export type PeerRole = 'access-point' | 'endpoint' | 'operator';

/** Who is on the other side, from the URI SAN of its verified certificate. */
export interface PeerIdentity {
  readonly cluster: string;
  readonly role: PeerRole;
  readonly name: string;
}

/** PEM files of one party; read again when they change, so certificates rotate without a restart. */
export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string;
}

/** One open, authenticated connection. */
export interface Channel {
  readonly peer: PeerIdentity;
  /** Queues one message for the end of this turn. Never throws; after close it does nothing. */
  send(message: object): void;
  /** Queues one message that somebody waits for: it leaves with the end of this callback, before other events are looked at. */
  sendUrgently(message: object): void;
  /** Writes what is queued now instead of at the end of the turn. */
  flush(): void;
  /** Bytes queued and not yet taken by the kernel, for back-pressure. */
  readonly queuedBytes: number;
  /** Called for each decoded message in order; throwing a RestitchError closes the connection with its code counted. */
  onMessage(listener: (message: unknown) => void): void;
  /** Called once, with the reason if it was not asked for. */
  onClose(listener: (reason: Error | undefined) => void): void;
  close(reason?: Error): void;
}
