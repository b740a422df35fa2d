/** The other end of the admin socket: what the command line and the laboratory call. */
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { RestitchError } from '@restitch/core';
import { fromFailure, adminAnswerSchema } from '@restitch/wire/internal';
import type { AdminCall } from '@restitch/wire';

/** A connection to a daemon's admin socket. */
export interface AdminClient {
  /** Resolves to the answer; `onEvent` gets what a stream sends before. Rejects with the daemon's error. */
  call(request: AdminCall, onEvent?: (event: unknown) => void): Promise<unknown>;
  /** Resolves when the connection has ended, by whichever side. */
  readonly closed: Promise<void>;
  close(): void;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: RestitchError) => void;
  readonly onEvent: ((event: unknown) => void) | undefined;
}

/** Connects. Throws `peer_lost` if no daemon listens at `path`. */
export async function openAdminClient(path: string): Promise<AdminClient> {
  const socket = connect(path);
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (cause) => {
      const remedy = 'is the access point running, and is this its admin socket?';
      reject(new RestitchError('peer_lost', `connect to ${path}: ${cause.message}; ${remedy}`, { cause }));
    });
  });
  const waiting = new Map<number, Waiting>();
  let nextId = 1;
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.on('error', () => socket.destroy());
  void closed.then(() => {
    for (const w of waiting.values())
      w.reject(new RestitchError('peer_lost', `${path}: the daemon closed the connection`));
    waiting.clear();
  });
  // readline emits its input's error once more; the socket's own listener has dealt with it.
  createInterface({ input: socket })
    .on('line', (line) => take(line, waiting))
    .on('error', () => undefined);
  return {
    call(request, onEvent) {
      const id = nextId++;
      return new Promise((resolve, reject) => {
        if (socket.destroyed) {
          reject(new RestitchError('peer_lost', `${path}: the connection has ended`));
          return;
        }
        waiting.set(id, { resolve, reject, onEvent });
        socket.write(`${JSON.stringify({ id, request })}\n`);
      });
    },
    closed,
    close: () => socket.destroy(),
  };
}

function take(line: string, waiting: Map<number, Waiting>): void {
  const answer = adminAnswerSchema.parse(JSON.parse(line));
  const caller = waiting.get(answer.id);
  if (caller === undefined) return;
  if ('event' in answer) {
    caller.onEvent?.(answer.event);
    return;
  }
  waiting.delete(answer.id);
  if ('error' in answer) caller.reject(fromFailure(answer.error));
  else caller.resolve(answer.ok);
}
