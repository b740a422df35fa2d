/** Puts a link emulator between the client and the bridge. */
import { awaitMessage } from './await-message.js';
import type { Lab } from './lab.js';
import type { LinkOptions } from './link-emulator.js';
import { partyInterface, raiseParty } from './lab-network.js';
import type { JoinOptions } from './lab-network.js';
import { programFile } from './program-file.js';

/** Delay and loss of the client's link. */
export interface LinkQuality {
  /** One way, client to bridge and bridge to client. */
  readonly upMs: number;
  readonly downMs: number;
  readonly lossRatio: number;
  readonly seed: number;
}

const startMs = 20_000;

/** Joins the client through an emulated link; its packets are of MTU size, its losses repeat with the seed. */
export async function joinClientByLink(lab: Lab, quality: LinkQuality, join: JoinOptions): Promise<void> {
  const { client, fabricNamespace } = lab.plan;
  lab.join(client, { ...join, isEmulated: true });
  const options: LinkOptions = {
    clientNamespace: client.namespace,
    clientInterface: partyInterface,
    fabricNamespace,
    bridgePort: client.bridgePort,
    ...quality,
  };
  const child = lab.start({
    name: 'link',
    party: client,
    command: process.execPath,
    args: [programFile('lab/link-emulator'), JSON.stringify(options)],
    hasChannel: true,
  });
  await awaitMessage(child, startMs, `link emulator (see ${lab.logFile('link')})`, () => true);
  child.unref();
  raiseParty(lab.plan, client, join);
}
