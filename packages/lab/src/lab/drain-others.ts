/** Makes one endpoint the only one that takes new connections. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { LabAdmin } from './lab-admin.js';

/** A drain is done before the steering table is: until then new connections go where they did, or nowhere. */
const tablesMs = 500;

/** Drains `others` and waits until new connections go past them. */
export async function drainOthers(admin: LabAdmin, others: readonly string[]): Promise<void> {
  for (const other of others) await admin.drain(other);
  await sleep(tablesMs);
}
