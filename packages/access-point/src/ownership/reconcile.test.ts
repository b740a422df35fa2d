import { describe, expect, it } from 'vitest';
import { judgeCopy } from './reconcile.js';
import type { RecordedOwner, ReportedCopy, Verdict } from './reconcile.js';

const source = 1;
const target = 2;
const live = (endpointId: number, epoch: number): ReportedCopy => ({ endpointId, epoch, phase: 'live' });
const frozen = (endpointId: number, epoch: number): ReportedCopy => ({ endpointId, epoch, phase: 'frozen' });
const pending = (endpointId: number, epoch: number): ReportedCopy => ({
  endpointId,
  epoch,
  phase: 'pending',
});
const record = (endpointId: number, epoch: number, isKept = false): RecordedOwner => ({
  endpointId,
  epoch,
  isKept,
});

describe('a reported copy against the record', () => {
  it.each<
    [string, ReportedCopy, RecordedOwner | undefined, 'here' | 'may-return' | 'absent' | 'gone', Verdict]
  >([
    ['a live session as recorded', live(source, 3), record(source, 3), 'here', 'keep'],
    [
      'a live session whose packets are still kept',
      live(source, 3),
      record(source, 3, true),
      'here',
      'keep-and-release',
    ],
    ['a live session of a higher epoch, its owner here', live(target, 4), record(source, 3), 'here', 'stale'],
    [
      'a live session of a higher epoch, its owner away',
      live(target, 4),
      record(source, 3),
      'may-return',
      'wait',
    ],
    [
      'a live session of a higher epoch, nobody behind the record',
      live(target, 4),
      record(source, 3),
      'gone',
      'claim',
    ],
    ['the owner itself with a higher epoch', live(source, 4), record(source, 3), 'here', 'claim'],
    ['a new session on a flow the endpoint had before', live(source, 0), record(source, 3), 'here', 'renew'],
    ['a live session the record has moved on from', live(source, 3), record(target, 4), 'here', 'stale'],
    [
      'the frozen source while the record still names it',
      frozen(source, 3),
      record(source, 3, true),
      'here',
      'revert',
    ],
    ['the frozen source behind the switch', frozen(source, 3), record(target, 4, true), 'here', 'release'],
    [
      'the frozen source when the session came back to it later',
      frozen(source, 3),
      record(source, 5),
      'here',
      'release',
    ],
    ['a frozen copy newer than the record', frozen(source, 5), record(target, 4), 'here', 'wait'],
    ['the pending target behind the switch', pending(target, 4), record(target, 4, true), 'here', 'activate'],
    ['the pending target before the switch', pending(target, 4), record(source, 3, true), 'here', 'abort'],
    [
      'the same while the source may come back',
      pending(target, 4),
      record(source, 3, true),
      'may-return',
      'wait',
    ],
    [
      'the same while the source was only not heard: it may serve on behind a cut',
      pending(target, 4),
      record(source, 3, true),
      'absent',
      'wait',
    ],
    [
      'the same when the source`s process is dead',
      pending(target, 4),
      record(source, 3, true),
      'gone',
      'take-over',
    ],
    [
      'a pending copy of an attempt given up long ago',
      pending(target, 4),
      record(source, 5),
      'gone',
      'abort',
    ],
    [
      'a pending copy of another attempt at the owner',
      pending(target, 3),
      record(target, 4),
      'here',
      'abort',
    ],
    ['new maps, a live session', live(source, 3), undefined, 'may-return', 'claim'],
    ['new maps, a frozen copy, the other side not heard', frozen(source, 3), undefined, 'may-return', 'wait'],
    ['new maps, a frozen copy, the target serves', frozen(source, 3), undefined, 'here', 'release'],
    ['new maps, a frozen copy and nobody else', frozen(source, 3), undefined, 'gone', 'revert'],
    [
      'new maps, a pending copy, the other side not heard',
      pending(target, 4),
      undefined,
      'may-return',
      'wait',
    ],
    [
      'new maps, a pending copy, somebody not heard in time: its source may serve on behind a cut',
      pending(target, 4),
      undefined,
      'absent',
      'wait',
    ],
    [
      'new maps, a frozen copy, somebody not heard in time: its target may serve behind a cut',
      frozen(source, 3),
      undefined,
      'absent',
      'wait',
    ],
    ['new maps, a pending copy, the source serves', pending(target, 4), undefined, 'here', 'abort'],
    ['new maps, a pending copy and nobody else', pending(target, 4), undefined, 'gone', 'take-over'],
  ])('%s', (_what, copy, owner, fate, verdict) => {
    expect(judgeCopy(copy, owner, fate)).toBe(verdict);
  });
});
