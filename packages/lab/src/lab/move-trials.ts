/** What may happen to the access point while `lab move` runs: a flood of SYNs, a killed daemon. */
import { setTimeout as sleep } from 'node:timers/promises';
import { playSynFlood } from '../load/syn-flood.js';
import { toRestitchError } from '@restitch/core';
import type { Lab } from './lab.js';
import { LabAdmin } from './lab-admin.js';
import { labPorts } from './lab-plan.js';
import { pickOne } from '../load/seeded-random.js';
import { accessPointName, awaitHealthy, startAccessPoint } from './start-parties.js';

/** A flood and what it did to the flow table. */
export interface FloodReport {
  readonly synsPlayed: number;
  readonly seconds: number;
  readonly flowsBefore: number;
  readonly flowsAfter: number;
}

/** A daemon's death and return. */
export interface DaemonKillReport {
  /** From the kill until all endpoints were back. */
  readonly awayMs: number;
  /** Moves that were under way when it died, by how their requests ended. */
  readonly movesCaught: Readonly<Record<string, number>>;
}

const caughtMoves = 6;

/** Plays `count` SYNs from as many addresses into the steering program of the laboratory. */
export async function floodAccessPoint(lab: Lab, admin: LabAdmin, count: number): Promise<FloodReport> {
  const flowsBefore = (await admin.status()).dataplane.flows;
  const startedMs = performance.now();
  const { played } = await playSynFlood({
    pinDirectory: lab.plan.pinDirectory,
    service: { address: lab.plan.vipIpv4, port: labPorts.echo },
    count,
  });
  const seconds = Math.round(performance.now() - startedMs) / 1000;
  const flowsAfter = (await admin.status()).dataplane.flows;
  return { synsPlayed: played, seconds, flowsBefore, flowsAfter };
}

/** Kills the daemon with moves under way, starts it again, and returns a connection to the new one. */
export async function killDaemonUnderLoad(
  lab: Lab,
  admin: LabAdmin,
  sessionIds: readonly string[],
  random: () => number,
): Promise<{ readonly admin: LabAdmin; readonly report: DaemonKillReport }> {
  const movesCaught: Record<string, number> = {};
  const count = (how: string): void => {
    movesCaught[how] = (movesCaught[how] ?? 0) + 1;
  };
  const moves = Array.from({ length: caughtMoves }, async () => {
    const id = pickOne(random, sessionIds) ?? '';
    await admin.migrate(id).then(
      (record) => count(record.outcome),
      (error: unknown) => count(toRestitchError(error).code),
    );
  });
  // A move takes about two milliseconds: the kill meets them at different steps.
  await sleep(2);
  const startedMs = performance.now();
  await lab.stop(accessPointName, 'SIGKILL');
  await Promise.all(moves);
  await startAccessPoint(lab);
  await awaitHealthy(lab, lab.state.endpoints);
  const awayMs = Math.round(performance.now() - startedMs);
  return { admin: await LabAdmin.open(lab.plan), report: { awayMs, movesCaught } };
}
