/** What this endpoint tells the access point of the replicas it keeps. */
import { replicasPerPage, type ReplicaReport, decodeOpening } from '@restitch/wire/internal';
import type { BuddyStore } from '@restitch/guard/internal';

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
    .map(({ id, epoch, n, owner: of, opening }) => ({ id, epoch, n, owner: of, ...readOpening(opening) }));
}

/** One owner's nonsense must not hide the others' replicas: nobody can go on with that one, and that is all. */
function readOpening(opening: Uint8Array): Partial<ReplicaReport> {
  try {
    const { flow, instance, openedAtMs } = decodeOpening(opening);
    return { flow, openedAtMs, ...(instance === undefined ? {} : { instance }) };
  } catch {
    return {};
  }
}
