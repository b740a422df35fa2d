/** The other end of the admin socket: what the command line and the laboratory call. */
import { connect } from 'node:net';
import { RestitchError, toRestitchError } from '@restitch/core';
import type { AdminCall, AnswerTo, EventOf } from '@restitch/wire';
import {
  type AdminRequest,
  createLineReader,
  fromFailure,
  parseAdminAnswer,
  readAnswer,
  readEvent,
} from '@restitch/wire/internal';

type Command = AdminRequest['cmd'];

/** A connection to a daemon's admin socket. */
export interface AdminClient {
  /**
   * Resolves to the answer; `onEvent` gets what a stream sends before. Rejects with the daemon's error, or with
   * `version_unsupported` if what it says is of another shape.
   */
  call<C extends Command>(request: AdminCall<C>, onEvent?: (event: EventOf<C>) => void): Promise<AnswerTo<C>>;
  /** Resolves when the connection has ended, by whichever side. */
  readonly closed: Promise<void>;
  close(): void;
}

/** A call without its answer, whatever its command. */
interface Waiting {
  readonly answered: (ok: unknown) => void;
  readonly happened: (event: unknown) => void;
  readonly failed: (error: RestitchError) => void;
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
  const failAll = (error: RestitchError): void => {
    const all = [...waiting.values()];
    waiting.clear();
    for (const { failed } of all) failed(error);
  };
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.on('error', () => socket.destroy());
  void closed.then(() =>
    failAll(new RestitchError('peer_lost', `${path}: the daemon closed the connection`)),
  );
  const read = createLineReader(path, Number.POSITIVE_INFINITY, (line) => take(line, waiting));
  socket.on('data', (chunk) => {
    try {
      read(chunk);
    } catch (error) {
      failAll(toRestitchError(error));
      socket.destroy();
    }
  });
  return {
    call<C extends Command>(request: AdminCall<C>, onEvent: (event: EventOf<C>) => void = () => undefined) {
      const id = nextId++;
      return new Promise<AnswerTo<C>>((resolve, reject) => {
        if (socket.destroyed) {
          reject(new RestitchError('peer_lost', `${path}: the connection has ended`));
          return;
        }
        waiting.set(id, {
          answered: (ok) => resolve(readAnswer(request.cmd, ok)),
          happened: (event) => onEvent(readEvent(request.cmd, event)),
          failed: reject,
        });
        socket.write(`${JSON.stringify({ id, request })}\n`);
      });
    },
    closed,
    close: () => socket.destroy(),
  };
}

/** What a daemon of another version says ends the call it was said to, and no other. */
function take(line: string, waiting: Map<number, Waiting>): void {
  const answer = parseAdminAnswer(line);
  // A line that the daemon could not read has no id; whoever sent it hears of it by the end of the connection.
  const caller = waiting.get(answer.id);
  if (caller === undefined) {
    if ('error' in answer && answer.id === 0) throw fromFailure(answer.error);
    return;
  }
  try {
    if ('event' in answer) {
      caller.happened(answer.event);
      return;
    }
    waiting.delete(answer.id);
    if ('error' in answer) caller.failed(fromFailure(answer.error));
    else caller.answered(answer.ok);
  } catch (error) {
    waiting.delete(answer.id);
    caller.failed(toRestitchError(error));
  }
}
