/** Who can keep replicas now, as all of them are told. */
import type { Peer } from '@restitch/wire/internal';
import type { Endpoint } from '../model/endpoint-registry.js';

/** Remembers what was told last. */
export class PeerList {
  #told = '';

  /** Tells all members when the list is another than before, and `newcomer` in any case. */
  publish(members: readonly Endpoint[], newcomer: Endpoint | undefined): void {
    const peers = members.flatMap(toPeers);
    const text = JSON.stringify(peers);
    const isNews = text !== this.#told;
    this.#told = text;
    for (const member of isNews ? members : members.filter((m) => m === newcomer)) {
      member.link?.tell({ t: 'peers', peers });
    }
  }
}

function toPeers({ hello, drain }: Endpoint): Peer[] {
  if (hello?.protection === undefined) return [];
  const { name, instance, stateAddress, protection } = hello;
  const leaving = drain === 'none' ? {} : { isLeaving: true };
  return [{ name, instance, stateAddress, labels: protection.labels, ...leaving }];
}
