/** What this endpoint tells the access point of the replicas it keeps. */
import { replicasPerPage, type ReplicaReport } from '@restitch/core/internal';
import type { BuddyStore } from '@restitch/guard/internal';
import { decodeOpening } from './opening.js';

/** Of one owner, without more than is needed; or of all, a page from `offset` on, with whose they are. */
export function reportReplicas(
  store: BuddyStore,
  owner: string | undefined,
  offset: number,
): ReplicaReport[] {
  if (owner !== undefined) return store.list(owner).map(({ id, epoch, n }) => ({ id, epoch, n }));
  return store
    .list()
    .slice(offset, offset + replicasPerPage)
    .map(({ id, epoch, n, owner: of, opening }) => {
      const { flow, instance, openedAtMs } = decodeOpening(opening);
      return { id, epoch, n, owner: of, flow, openedAtMs, ...(instance === undefined ? {} : { instance }) };
    });
}
