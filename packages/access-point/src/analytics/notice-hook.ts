/**
 * The HTTP hook for notices, on a unix socket: what polls a cloud's metadata, or a deployment script, says it with curl and
 * needs neither the command line nor a certificate. File permissions decide who may.
 *
 *   POST   /endpoints/NAME/notice   {"in": "120s", "what": "preemption"}   (both optional: now, preemption)
 *   DELETE /endpoints/NAME/notice
 *   GET    /notices
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import { dirname } from 'node:path';
import { RestitchError, toRestitchError } from '@restitch/core';
import type { Counters, Logger } from '@restitch/core';
import { z } from 'zod';
import { parseDuration } from '../config/units.js';
import type { EndpointRegistry } from '../model/endpoint-registry.js';
import { type Notices } from './notices.js';
import { announceable } from '@restitch/wire/internal';

/** What the hook works with. */
export interface NoticeHookDeps {
  readonly notices: Notices;
  readonly endpoints: EndpointRegistry;
  readonly logger: Logger;
  readonly counters: Counters;
}

/** A listening hook. */
export interface NoticeHook {
  close(): Promise<void>;
}

const maxBodyBytes = 4096;
const requestDeadlineMs = 5000;
const maxConnections = 16;

const bodySchema = z.strictObject({
  in: z.union([z.string(), z.number()]).default('0s'),
  what: z.enum(announceable).default('preemption'),
});

/** Listens at `path`, mode 0660. Throws `syscall_failed`. */
export async function openNoticeHook(path: string, deps: NoticeHookDeps): Promise<NoticeHook> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  rmSync(path, { force: true });
  const server = createServer({ requestTimeout: requestDeadlineMs, headersTimeout: requestDeadlineMs });
  server.maxConnections = maxConnections;
  server.on('request', (request, response) => {
    serve(request, deps).then(
      (answer) => send(response, 200, answer),
      (error: unknown) => refuse(response, toRestitchError(error), deps.counters),
    );
  });
  await listen(server, path);
  return {
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

function listen(server: Server, path: string): Promise<void> {
  const before = process.umask(0o117);
  return new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new RestitchError('syscall_failed', `listen on ${path}: ${cause.message}`, { cause })),
    );
    server.listen(path, () => {
      chmodSync(path, 0o660);
      resolve();
    });
  }).finally(() => process.umask(before));
}

async function serve(request: IncomingMessage, deps: NoticeHookDeps): Promise<object> {
  const { method = '', url = '' } = request;
  const body = await readBody(request);
  if (method === 'GET' && url === '/notices') return { notices: deps.notices.all() };
  const name = /^\/endpoints\/([^/?]{1,63})\/notice$/.exec(url)?.[1];
  if (name === undefined || (method !== 'POST' && method !== 'DELETE')) {
    throw new RestitchError(
      'usage',
      `${method} ${url.slice(0, 100)}: expected POST or DELETE /endpoints/NAME/notice`,
    );
  }
  const endpoint = deps.endpoints.require(name);
  if (method === 'DELETE') return { cancelled: deps.notices.cancel(endpoint) };
  const { what, inMs } = parseBody(body);
  return deps.notices.give(endpoint, what, inMs, 'hook');
}

function parseBody(body: string): { what: (typeof announceable)[number]; inMs: number } {
  const expected = 'expected {"in": "120s", "what": "preemption" or "maintenance"}';
  let raw: unknown;
  try {
    raw = body === '' ? {} : (JSON.parse(body) as unknown);
  } catch (cause) {
    throw new RestitchError('usage', `the body is no JSON; ${expected}`, { cause });
  }
  const parsed = bodySchema.safeParse(raw);
  if (!parsed.success) throw new RestitchError('usage', expected);
  const quantity = parseDuration(parsed.data.in);
  if ('problem' in quantity) throw new RestitchError('usage', `in: ${quantity.problem}; ${quantity.remedy}`);
  return { what: parsed.data.what, inMs: quantity.value };
}

async function readBody(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) {
    text += String(chunk);
    if (text.length > maxBodyBytes)
      throw new RestitchError('usage', `a body of more than ${maxBodyBytes} bytes`);
  }
  return text;
}

function refuse(response: ServerResponse, error: RestitchError, counters: Counters): void {
  counters.add(`notice_hook_refused_${error.code}_total`);
  const status = error.code === 'unknown_endpoint' ? 404 : error.code === 'usage' ? 400 : 500;
  send(response, status, { error: { code: error.code, message: error.message } });
}

function send(response: ServerResponse, status: number, body: object): void {
  if (response.destroyed) return;
  response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
  response.end(`${JSON.stringify(body)}\n`);
}
