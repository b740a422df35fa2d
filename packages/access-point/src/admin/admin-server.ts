/** The admin socket: a unix socket only its owner may open; there is no other way to command the daemon. */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import type { Server, Socket } from 'node:net';
import { dirname } from 'node:path';
import { RestitchError, toRestitchError } from '@restitch/core';
import type { Logger } from '@restitch/core';
import {
  adminLineSchema,
  createLineReader,
  maxAdminRequestBytes,
  parseMessage,
  toFailure,
} from '@restitch/wire/internal';
import type { AdminRequest } from '@restitch/wire/internal';

/** Answers one request; `emit` sends an event line before; `signal` is aborted when the caller has gone. */
export type AdminHandler = (
  request: AdminRequest,
  emit: (event: unknown) => void,
  signal: AbortSignal,
) => Promise<unknown>;

/** How long a connection stays that sent what cannot be read as lines. */
const refusedMs = 1000;

/** A listening admin socket. */
export interface AdminServer {
  close(): Promise<void>;
}

/** Listens at `path`, mode 0600. Throws `syscall_failed` if another daemon answers there. */
export async function openAdminServer(
  path: string,
  handle: AdminHandler,
  logger: Logger,
): Promise<AdminServer> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  if (await isAnswering(path)) {
    throw new RestitchError('syscall_failed', `${path}: another access point is running there`);
  }
  rmSync(path, { force: true });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    serve(socket, handle, logger);
  });
  await listen(server, path);
  return {
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

function listen(server: Server, path: string): Promise<void> {
  const before = process.umask(0o177);
  return new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      reject(new RestitchError('syscall_failed', `listen on ${path}: ${cause.message}`, { cause }));
    });
    server.listen(path, () => {
      chmodSync(path, 0o600);
      resolve();
    });
  }).finally(() => process.umask(before));
}

function isAnswering(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function serve(socket: Socket, handle: AdminHandler, logger: Logger): void {
  const gone = new AbortController();
  const write = (line: object): void => {
    if (!gone.signal.aborted) socket.write(`${JSON.stringify(line)}\n`);
  };
  socket.on('error', () => socket.destroy());
  socket.on('close', () => gone.abort());
  const read = createLineReader('admin socket', maxAdminRequestBytes, (line) => {
    void answer(line, handle, write, gone.signal).catch((error: unknown) => {
      logger.error({ reason: toRestitchError(error).message }, 'admin request failed');
      socket.destroy();
    });
  });
  let isRefused = false;
  socket.on('data', (chunk) => {
    if (isRefused) return;
    try {
      read(chunk);
    } catch (error) {
      isRefused = true;
      write({ id: 0, error: toFailure(toRestitchError(error)) });
      socket.end();
      // Whoever goes on writing must not hold a descriptor; whoever has stopped reads why first.
      setTimeout(() => socket.destroy(), refusedMs).unref();
    }
  });
}

async function answer(
  line: string,
  handle: AdminHandler,
  write: (line: object) => void,
  signal: AbortSignal,
): Promise<void> {
  let id = 0;
  try {
    const plain = parseJson(line);
    id = Number((plain as { id?: unknown } | null)?.id ?? 0);
    const { request } = parseMessage(adminLineSchema, plain, 'admin socket');
    const ok = await handle(request, (event) => write({ id, event }), signal);
    write({ id, ok: ok ?? null });
  } catch (error) {
    write({ id, error: toFailure(toRestitchError(error)) });
  }
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new RestitchError('message_invalid', 'admin socket: the line is not JSON', { cause });
  }
}
