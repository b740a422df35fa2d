/**
 * After the death of a daemon: sessions whose endpoint died before they were given away, or in the middle of it. Their
 * records are there, nobody serves them, and nobody remembers who was dead; but their buddies know whose replicas they
 * keep, and of which process. What is to be done with one replica is a pure function.
 */
import type { Clock, Flow } from '@restitch/core';
import { replicasPerPage } from '@restitch/wire/internal';
import type { ReplicaReport } from '@restitch/wire/internal';
import type { FlowRecord } from '@restitch/dataplane';
import { requestSlowly } from '../model/endpoint-link.js';
import type { Endpoint } from '../model/endpoint-registry.js';

/** A replica with everything that was asked for. */
export interface KnownReplica {
  readonly buddy: Endpoint;
  readonly id: string;
  readonly epoch: number;
  readonly n: number;
  readonly owner: string;
  readonly instance: string;
  readonly flow: Flow;
  readonly openedAtMs: number;
}

/** What is known beside the replica. */
export interface ReplicaCircumstances {
  /** The session, or another one on its flow, is served by somebody who has announced. */
  readonly isServed: boolean;
  /** Process that speaks for the owner's name now; undefined if nobody does. */
  readonly ownerInstance: string | undefined;
  readonly ownerId: number;
  readonly buddyId: number;
  readonly record: Pick<FlowRecord, 'endpointId' | 'epoch' | 'phase'> | undefined;
  /** Records are new: that there is none says nothing. */
  readonly areRecordsNew: boolean;
}

/**
 * leave: it is served, has ended, or is another's affair. give-away: its owner is dead, the record names the owner.
 * let-serve: the record names the buddy already, which has not served yet. claim-and-give-away: there is no record.
 */
export type RecoveryVerdict = 'leave' | 'give-away' | 'let-serve' | 'claim-and-give-away';

/** What is to be done with the newest replica of one session. */
export function judgeReplica(
  replica: Pick<KnownReplica, 'epoch' | 'instance'>,
  c: ReplicaCircumstances,
): RecoveryVerdict {
  // The owner's process lives and speaks: what it has not announced has ended.
  if (c.isServed || c.ownerInstance === replica.instance) return 'leave';
  const { record } = c;
  if (record === undefined) return c.areRecordsNew ? 'claim-and-give-away' : 'leave';
  if (record.phase === 'closing') return 'leave';
  if (record.endpointId === c.ownerId && record.epoch === replica.epoch) return 'give-away';
  // Only the crash branch leaves the buddy's flow kept; a planned move to it has its own way to end.
  const isKept = record.phase === 'hold' || record.phase === 'frozen';
  return isKept && record.endpointId === c.buddyId && record.epoch > replica.epoch ? 'let-serve' : 'leave';
}

const answerMs = 2000;
const tries = 3;

/** Newest replica of each session that the endpoints keep; `isWhole`: nobody had to be passed over, having not answered. */
export async function gatherReplicas(
  endpoints: readonly Endpoint[],
  clock: Clock,
): Promise<{ readonly newest: Map<string, KnownReplica>; readonly isWhole: boolean }> {
  const newest = new Map<string, KnownReplica>();
  let isWhole = true;
  await Promise.all(
    endpoints.map(async (buddy) => {
      const asked = await askForAllReplicas(buddy, clock);
      isWhole &&= asked.isWhole;
      for (const replica of asked.all) {
        const known = newest.get(replica.id);
        const isNewer =
          known === undefined ||
          replica.epoch > known.epoch ||
          (replica.epoch === known.epoch && replica.n > known.n);
        if (isNewer) newest.set(replica.id, replica);
      }
    }),
  );
  return { newest, isWhole };
}

/** All that one endpoint keeps and can tell the flow of; `isWhole`: down to its last page. */
export async function askForAllReplicas(
  buddy: Endpoint,
  clock: Clock,
): Promise<{ readonly all: readonly KnownReplica[]; readonly isWhole: boolean }> {
  const all: KnownReplica[] = [];
  let offset = 0;
  for (let failures = 0; failures < tries; ) {
    const { link } = buddy;
    if (link === undefined) break;
    try {
      const { replicas: page } = await requestSlowly(link, { t: 'replicas', offset }, clock, answerMs);
      offset += page.length;
      all.push(...page.flatMap((report) => withBuddy(report, buddy)));
      if (page.length < replicasPerPage) return { all, isWhole: true };
    } catch {
      failures++;
    }
  }
  return { all, isWhole: false };
}

function withBuddy(report: ReplicaReport, buddy: Endpoint): KnownReplica[] {
  const { id, epoch, n, owner, instance, flow, openedAtMs } = report;
  if (owner === undefined || instance === undefined || flow === undefined) return [];
  return [{ id, epoch, n, buddy, owner, instance, flow, openedAtMs: openedAtMs ?? 0 }];
}
