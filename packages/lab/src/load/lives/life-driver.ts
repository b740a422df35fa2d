/** The driver of phase clients: a process in the client's namespace, started by the laboratory with a message channel. */
import { toRestitchError } from '@restitch/core';
import { LifeKeeper } from './life-keeper.js';
import type { FromLifeDriver, ToLifeDriver } from './life-messages.js';
import { monotonicMs } from '../clients/monotonic.js';

/** Clients act on multiples of it. */
const stepMs = 5;

const keeper = new LifeKeeper();

function send(message: FromLifeDriver): void {
  process.send?.(message);
}

async function until(isDone: () => boolean, limitMs: number): Promise<void> {
  const endMs = monotonicMs() + limitMs;
  while (!isDone() && monotonicMs() < endMs) await new Promise((resolve) => setTimeout(resolve, 1));
}

async function onMessage(message: ToLifeDriver): Promise<void> {
  switch (message.t) {
    case 'keep':
      keeper.keep(message.slots, message.seed);
      return;
    case 'visit':
      keeper.appoint(message.visits, message.atMs, message);
      return;
    case 'look':
      keeper.step();
      await until(() => {
        keeper.step();
        return keeper.haveVisitorsConnected;
      }, message.withinMs);
      send({ t: 'seen', lives: keeper.look(), longestOwedMs: keeper.longestOwedMs() });
      return;
    case 'finish':
      keeper.hurry();
      await until(() => keeper.isEmpty, message.drainMs);
      send({ t: 'records', records: keeper.finish() });
  }
}

function fail(error: unknown): void {
  send({ t: 'failed', message: toRestitchError(error).message });
}

function step(): void {
  try {
    keeper.step();
  } catch (error) {
    fail(error);
    return;
  }
  setTimeout(step, stepMs);
}

process.on('message', (message: ToLifeDriver) => void onMessage(message).catch(fail));
process.on('disconnect', () => process.exit(0));
step();
send({ t: 'started' });
