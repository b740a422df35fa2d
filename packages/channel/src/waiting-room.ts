/**
 * Connections that have not yet shown who they are. Bounded on their own, and the oldest goes first: whoever opens thousands
 * of connections and says nothing keeps no honest party out, whose handshake takes milliseconds.
 */
import type { Socket } from 'node:net';

/** The unauthenticated connections of one listener. */
export interface WaitingRoom {
  /** A connection came in; over the bound, the one that waits longest is cut off. */
  enter(socket: Socket): void;
  /** The peer behind this socket, or a TLS socket on it, has been accepted. */
  leave(socket: Socket): void;
  readonly size: number;
}

/** An empty room; `onCutOff` is called for each connection that had to go. */
export function createWaitingRoom(bound: number, onCutOff: () => void): WaitingRoom {
  // node:tls shows no way from its socket to the one below; the far end's address is the same on both.
  const waiting = new Map<string, Socket>();
  return {
    enter(socket) {
      const key = remoteEnd(socket);
      waiting.set(key, socket);
      socket.once('close', () => {
        if (waiting.get(key) === socket) waiting.delete(key);
      });
      if (waiting.size <= bound) return;
      const [oldest] = waiting;
      if (oldest === undefined) return;
      waiting.delete(oldest[0]);
      oldest[1].destroy();
      onCutOff();
    },
    leave: (socket) => void waiting.delete(remoteEnd(socket)),
    get size() {
      return waiting.size;
    },
  };
}

function remoteEnd(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}
