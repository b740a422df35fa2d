/** `restitch lab endpoint …`: what strangers want to do to an endpoint of a laboratory that `lab up` has started. */
import { existsSync } from 'node:fs';
import { RestitchError } from '@restitch/core';
import type { CliEnv } from '@restitch/console';
import { Lab, waitUntil } from './lab.js';
import { setPartyLink } from './lab-network.js';
import { chooseLabId } from './lab-state.js';
import type { LabProcess } from './lab-state.js';
import { isSameProcess, signalProcess } from './process-identity.js';
import { agentSocketOf, awaitHealthy, startEndpoint } from './start-parties.js';

/** What can be done to an endpoint. */
export const endpointDeeds = ['kill', 'term', 'start', 'stop', 'cont', 'cut', 'heal'] as const;
/** What can be done to an endpoint. */
export type EndpointDeed = (typeof endpointDeeds)[number];

/** Options of `lab endpoint`. */
export interface LabEndpointOptions {
  readonly lab?: string;
  /** With start; left out: as the laboratory was made. */
  readonly protected?: boolean;
}

/** Longest a process may take to move its sessions away and end. */
const termLimitMs = 30_000;

/** Does it, and waits until it is done. */
export async function runLabEndpoint(
  env: CliEnv,
  deed: EndpointDeed,
  name: string,
  options: LabEndpointOptions,
): Promise<void> {
  const lab = Lab.attach(chooseLabId(options.lab));
  const party = lab.party(name);
  if (party.role !== 'endpoint') throw new RestitchError('usage', `${name} is no endpoint`);
  switch (deed) {
    case 'kill':
      findRunning(lab, name);
      await lab.stop(name, 'SIGKILL');
      break;
    case 'term':
      await terminate(lab, name);
      break;
    case 'start':
      if (lab.findProcess(name) !== undefined)
        throw new RestitchError('usage', `endpoint ${name} runs already`);
      await startEndpoint(lab, party, { isProtected: options.protected ?? isProtected(lab, name) });
      await awaitHealthy(lab, [name]);
      break;
    case 'stop':
      signalProcess(findRunning(lab, name), 'SIGSTOP');
      break;
    case 'cont':
      signalProcess(findRunning(lab, name), 'SIGCONT');
      break;
    case 'cut':
    case 'heal':
      setPartyLink(lab.plan, party, deed === 'heal');
      break;
  }
  env.err(`laboratory ${lab.plan.id}: endpoint ${name}: ${deed}\n`);
}

/** Sends SIGTERM and waits until the process has ended by itself; how long that took. Throws `deadline_exceeded`. */
export async function terminate(lab: Lab, name: string): Promise<number> {
  const process = findRunning(lab, name);
  const beganMs = performance.now();
  signalProcess(process, 'SIGTERM');
  // It may have been stopped.
  signalProcess(process, 'SIGCONT');
  if (!(await waitUntil(() => !isSameProcess(process), termLimitMs)))
    throw new RestitchError(
      'deadline_exceeded',
      `endpoint ${name} has not ended ${termLimitMs} ms after SIGTERM`,
    );
  const tookMs = performance.now() - beganMs;
  await lab.stop(name);
  return tookMs;
}

/** True if the laboratory's endpoints have host agents. */
export function isProtected(lab: Lab, name: string): boolean {
  return existsSync(agentSocketOf(lab.plan, lab.party(name)));
}

function findRunning(lab: Lab, name: string): LabProcess {
  const found = lab.findProcess(name);
  if (found === undefined) throw new RestitchError('usage', `endpoint ${name} does not run`);
  return found;
}
