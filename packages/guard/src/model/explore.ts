/** Breadth-first search over all reachable states of a model: the first violation found has a shortest story. */

/** A model over states S, which are small plain objects never changed in place. */
export interface Model<S> {
  readonly initial: S;
  /** Two states with the same key are the same state. */
  keyOf(state: S): string;
  /** Everything that can happen next, each with a name. */
  next(state: S, emit: (what: string, state: S) => void): void;
  /** Names of the invariants this state breaks. */
  violations(state: S): readonly string[];
  /** Names of situations worth having seen, so that an empty exploration cannot pass. */
  seen?(state: S): readonly string[];
}

/** What an exploration found. */
export interface Exploration {
  readonly states: number;
  readonly transitions: number;
  /** Invariant → the shortest story that breaks it. */
  readonly broken: ReadonlyMap<string, readonly string[]>;
  readonly seen: ReadonlySet<string>;
  readonly isComplete: boolean;
}

/** Explores until no new state is left, or `maxStates` are reached (then it is not complete). */
export function explore<S>(model: Model<S>, maxStates = 5_000_000): Exploration {
  const index = new Map<string, number>([[model.keyOf(model.initial), 0]]);
  const parent: number[] = [-1];
  const via: string[] = [''];
  const broken = new Map<string, readonly string[]>();
  const seen = new Set<string>();
  let frontier: Array<readonly [S, number]> = [[model.initial, 0]];
  let transitions = 0;
  const storyOf = (at: number): string[] => {
    const story: string[] = [];
    for (let i = at; i > 0; i = parent[i] as number) story.push(via[i] as string);
    return story.reverse();
  };
  const visit = (state: S, at: number): void => {
    for (const name of model.violations(state)) if (!broken.has(name)) broken.set(name, storyOf(at));
    for (const name of model.seen?.(state) ?? []) seen.add(name);
  };
  visit(model.initial, 0);
  while (frontier.length > 0 && index.size < maxStates) {
    const fresh: Array<readonly [S, number]> = [];
    for (const [state, at] of frontier) {
      model.next(state, (what, next) => {
        transitions++;
        const key = model.keyOf(next);
        if (index.has(key)) return;
        const number = index.size;
        index.set(key, number);
        parent.push(at);
        via.push(what);
        visit(next, number);
        fresh.push([next, number]);
      });
    }
    frontier = fresh;
  }
  return { states: index.size, transitions, broken, seen, isComplete: frontier.length === 0 };
}
