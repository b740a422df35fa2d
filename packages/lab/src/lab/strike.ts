/** The three deaths of an endpoint: its process, its host, or a process that stands still. */
import type { Lab } from './lab.js';
import { setPartyLink } from './lab-network.js';
import { signalProcess } from './process-identity.js';

/** A death. */
export type Death = 'process' | 'host' | 'stop';

/** Kills, cuts off or stops an endpoint, which may have been stopped before, and leaves it so. */
export async function strike(lab: Lab, name: string, death: Death): Promise<void> {
  const process = lab.findProcess(name);
  switch (death) {
    case 'process':
      await lab.stop(name, 'SIGKILL');
      return;
    case 'host':
      setPartyLink(lab.plan, lab.party(name), false);
      if (process !== undefined) signalProcess(process, 'SIGCONT');
      return;
    case 'stop':
      if (process !== undefined) signalProcess(process, 'SIGSTOP');
  }
}
