/**
 * The client driver: a process in the client's namespace that runs many client sessions and reports what they saw.
 *
 * Started by the laboratory with a message channel; ends when that closes.
 */
import { toRestitchError } from '@restitch/core';
import { BulkClient } from './bulk-client.js';
import type { ClientSession } from './client-session.js';
import type {
  ClientPace,
  ClientReport,
  ClientSpec,
  DriverTotals,
  FromDriver,
  ToDriver,
} from './driver-messages.js';
import { LineClient } from './line-client.js';
import { monotonicMs } from './monotonic.js';
import { PacedClient } from './paced-client.js';
import { ReadClient } from './read-client.js';

/** The pump's step; records are scheduled on multiples of it. */
const tickMs = 1;
/** Sockets are asked for their retransmission timeouts this often; a timeout is 200 ms at least. */
const rtoPollMs = 100;
const totalsMs = 250;
/** Connections opened at once: a listen backlog is a few hundred. */
const openAtOnce = 100;

const sessions: ClientSession[] = [];
/** Paced clients that are still to come, the next one last. */
let coming: PacedSpec[] = [];
/** Of paced clients that have left. */
const departed: ClientReport[] = [];
let isPumping = false;

type PacedSpec = ClientSpec & { readonly pace: ClientPace };

function send(message: FromDriver): void {
  process.send?.(message);
}

async function openClients(specs: readonly ClientSpec[]): Promise<void> {
  const added: ClientSession[] = [];
  for (let i = 0; i < specs.length; i += openAtOnce) {
    const batch = specs.slice(i, i + openAtOnce).map(createClient);
    added.push(...batch);
    await Promise.all(batch.map((session) => session.open()));
  }
  const startMs = Math.ceil(monotonicMs()) + 20;
  added.forEach((session, i) => {
    // Spread over the period in whole ticks, else every session would send in the same millisecond.
    const { recordsPerSec } = session.spec;
    if (session instanceof LineClient && recordsPerSec > 0) {
      session.schedule(startMs + ((i * tickMs) % (1000 / recordsPerSec)));
    }
  });
  sessions.push(...added);
  startPump();
  send({
    t: 'opened',
    sessions: added.map((s) => ({
      tag: s.spec.tag,
      localAddress: s.local.address,
      localPort: s.local.port,
    })),
  });
}

function createClient(spec: ClientSpec): ClientSession {
  if (spec.kind === 'read') return new ReadClient(spec);
  return spec.kind === 'line' ? new LineClient(spec) : new BulkClient(spec);
}

function planClients(specs: readonly ClientSpec[]): void {
  const paced = specs.flatMap((spec) => (spec.pace === undefined ? [] : [{ ...spec, pace: spec.pace }]));
  coming = [...coming, ...paced].toSorted((x, y) => y.pace.openAtMs - x.pace.openAtMs);
  startPump();
}

function openDue(nowMs: number): void {
  for (let next = coming.at(-1); next !== undefined && next.pace.openAtMs <= nowMs; next = coming.at(-1)) {
    coming.pop();
    const session = new PacedClient(next);
    session.open().then(() => {
      session.begin();
      sessions.push(session);
    }, fail);
  }
}

function endOver(nowMs: number): void {
  for (let i = sessions.length - 1; i >= 0; i--) {
    const session = sessions[i];
    if (!(session instanceof PacedClient) || !session.isOver(nowMs)) continue;
    sessions.splice(i, 1);
    departed.push(session.finish());
  }
}

function startPump(): void {
  if (isPumping) return;
  isPumping = true;
  const pump = (): void => {
    if (!isPumping) return;
    const nowMs = monotonicMs();
    openDue(nowMs);
    for (const session of sessions) session.pump(nowMs);
    endOver(nowMs);
    setTimeout(pump, tickMs);
  };
  pump();
}

async function finish(drainMs: number): Promise<void> {
  isPumping = false;
  const deadlineMs = monotonicMs() + drainMs;
  while (monotonicMs() < deadlineMs && sessions.some((s) => s.isOpen && !s.isDrained)) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  coming = [];
  send({ t: 'report', clients: [...departed, ...sessions.map((session) => session.finish())] });
  sessions.length = 0;
  departed.length = 0;
}

function totals(): DriverTotals {
  const sum = {
    sentBytes: 0,
    receivedBytes: 0,
    mismatchedBytes: 0,
    lostBytes: 0,
    duplicatedBytes: 0,
    resets: 0,
    rtos: 0,
    open: 0,
    stalestMs: 0,
    broken: [] as string[],
  };
  const nowMs = monotonicMs();
  for (const session of sessions) {
    const tally = session.tally();
    sum.sentBytes += session.sentBytes;
    sum.receivedBytes += tally.receivedBytes;
    sum.mismatchedBytes += tally.mismatchedBytes;
    sum.lostBytes += tally.lostBytes;
    sum.duplicatedBytes += tally.duplicatedBytes;
    sum.resets += session.resets;
    sum.rtos += session.rtos;
    sum.open += session.isOpen ? 1 : 0;
    if (session.isOpen) sum.stalestMs = Math.max(sum.stalestMs, session.staleMs(nowMs));
    if (session.resets > 0) sum.broken.push(session.spec.tag);
  }
  return sum;
}

function fail(error: unknown): void {
  send({ t: 'failed', message: toRestitchError(error).message });
}

function onMessage(message: ToDriver): void {
  switch (message.t) {
    case 'open':
      openClients(message.clients).catch(fail);
      return;
    case 'plan':
      planClients(message.clients);
      return;
    case 'finish':
      finish(message.drainMs).catch(fail);
      return;
    case 'exit':
      process.exit(0);
  }
}

process.on('message', onMessage);
process.on('disconnect', () => process.exit(0));
setInterval(() => {
  for (const session of sessions) session.pollRtos();
}, rtoPollMs);
setInterval(() => {
  if (sessions.length > 0) send({ t: 'totals', totals: totals() });
}, totalsMs);
send({ t: 'started' });
