/**
 * Frames in an old owner's name, sent from its host after the take-over: with the fence they must not reach the client,
 * and without it the capture must see them. That is how a check that never fires is known to work.
 */
import { segmentFlags, writeSegment } from '@restitch/dataplane/internal';
import type { Flow } from '@restitch/core';
import { detachGuard } from '@restitch/guard/internal';
import { inNetworkNamespace } from '@restitch/sys';
import { openRawSender } from '@restitch/sys/internal';
import { partyInterface } from './lab-network.js';
import type { PartyPlan } from './lab-plan.js';

/** fenced: with the guard in place. unfenced: it is taken away first. */
export const forgeries = ['fenced', 'unfenced'] as const;
/** What `--forge` can be. */
export type Forgery = (typeof forgeries)[number];

/** Sends one bare ACK for each flow from the party's host; the client takes its number for an old one's. */
export function forgeFrames(party: PartyPlan, flows: readonly Flow[], forgery: Forgery): void {
  inNetworkNamespace(`/run/netns/${party.namespace}`, () => {
    if (forgery === 'unfenced') detachGuard(partyInterface);
    const sender = openRawSender();
    try {
      for (const flow of flows) {
        sender.send(writeSegment(flow, { seq: 1, ack: 1, flags: segmentFlags.ack }), flow.client.address);
      }
    } finally {
      sender.close();
    }
  });
}
