/** Inputs of one period in one order, whatever the order they came in: the same period gives the same plan. */
import type { EngineInput } from './engine-input.js';

/** What comes first at equal times: who is there, then what happens, then what is measured. */
const rank: Record<EngineInput['kind'], number> = {
  history: 0,
  erase: 1,
  fleet: 2,
  session: 3,
  failed: 4,
  notice: 5,
  endpoint: 6,
  sessions: 7,
  path: 8,
  mode: 9,
  accept: 10,
  train: 11,
  rollback: 12,
  'own-scores': 13,
  tick: 14,
};
const eventRank = { opened: 0, moved: 1, reverted: 2, refused: 3, pinned: 4, unpinned: 5, ended: 6 } as const;

/** Whether there are inputs of that kind. */
export function isKind(kind: unknown): kind is EngineInput['kind'] {
  return typeof kind === 'string' && Object.hasOwn(rank, kind);
}

/** Sorts in place. Equal inputs may stand in any order: they are equal. */
export function sortInputs(inputs: EngineInput[]): EngineInput[] {
  return inputs.sort(
    (a, b) =>
      a.atMs - b.atMs || rank[a.kind] - rank[b.kind] || compareTexts(keyOf(a), keyOf(b)) || rest(a, b),
  );
}

function keyOf(input: EngineInput): string {
  if (input.kind === 'session') return `${input.session} ${eventRank[input.what]}`;
  return 'endpoint' in input ? input.endpoint : '';
}

/** Only inputs that agree in time, kind and name are written out: that is rare. */
function rest(a: EngineInput, b: EngineInput): number {
  return compareTexts(JSON.stringify(a), JSON.stringify(b));
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
