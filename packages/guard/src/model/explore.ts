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
  /** What must be reached in the end, from every state. */
  readonly liveness?: {
    readonly name: string;
    isGoal(state: S): boolean;
    /** Somebody may do this, or it may happen; nobody has to. The goal must be reachable without it. */
    isChoice(what: string): boolean;
  };
}

/** The key of a state of small numbers and short strings: one character a number, which is several times faster than text. */
export function keyOfSmall(state: object): string {
  let key = '';
  for (const value of Object.values(state) as Array<number | string>) {
    key += typeof value === 'number' ? String.fromCharCode(value + 2) : `${value};`;
  }
  return key;
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

/**
 * Explores until no new state is left, or `maxStates` are reached (then it is not complete).
 *
 * Liveness: with a finite number of states, "reachable from everywhere by steps that are due" is "reached in every
 * execution in which what stays possible happens at last" (strong fairness).
 */
export function explore<S>(model: Model<S>, maxStates = 5_000_000): Exploration {
  const index = new Map<string, number>([[model.keyOf(model.initial), 0]]);
  const parent: number[] = [-1];
  const via: string[] = [''];
  const broken = new Map<string, readonly string[]>();
  const seen = new Set<string>();
  let frontier: Array<readonly [S, number]> = [[model.initial, 0]];
  let transitions = 0;
  const due = new Edges();
  const goals: number[] = [];
  const storyOf = (at: number): string[] => {
    const story: string[] = [];
    for (let i = at; i > 0; i = parent[i] as number) story.push(via[i] as string);
    return story.reverse();
  };
  const visit = (state: S, at: number): void => {
    for (const name of model.violations(state)) if (!broken.has(name)) broken.set(name, storyOf(at));
    for (const name of model.seen?.(state) ?? []) seen.add(name);
    if (model.liveness?.isGoal(state)) goals.push(at);
  };
  visit(model.initial, 0);
  while (frontier.length > 0 && index.size < maxStates) {
    const fresh: Array<readonly [S, number]> = [];
    for (const [state, at] of frontier) {
      model.next(state, (what, next) => {
        transitions++;
        const key = model.keyOf(next);
        const known = index.get(key);
        const number = known ?? index.size;
        if (model.liveness?.isChoice(what) === false && number !== at) due.add(at, number);
        if (known !== undefined) return;
        index.set(key, number);
        parent.push(at);
        via.push(what);
        visit(next, number);
        fresh.push([next, number]);
      });
    }
    frontier = fresh;
  }
  if (model.liveness !== undefined && frontier.length === 0) {
    const stuck = due.firstWithoutWayTo(goals, index.size);
    if (stuck !== undefined) broken.set(model.liveness.name, storyOf(stuck));
  }
  return { states: index.size, transitions, broken, seen, isComplete: frontier.length === 0 };
}

/** Steps between numbered states, for walking them backwards. */
class Edges {
  #from = new Int32Array(1 << 16);
  #to = new Int32Array(1 << 16);
  #count = 0;

  add(from: number, to: number): void {
    if (this.#count === this.#from.length) {
      this.#from = grown(this.#from);
      this.#to = grown(this.#to);
    }
    this.#from[this.#count] = from;
    this.#to[this.#count++] = to;
  }

  /** The first of `states` states from which no goal can be reached. */
  firstWithoutWayTo(goals: readonly number[], states: number): number | undefined {
    // Steps sorted by where they lead: those into state n stand from starts[n] on.
    const starts = new Int32Array(states + 2);
    for (let i = 0; i < this.#count; i++) starts[(this.#to[i] as number) + 2]!++;
    for (let n = 2; n < starts.length; n++) starts[n]! += starts[n - 1] as number;
    const into = new Int32Array(this.#count);
    for (let i = 0; i < this.#count; i++)
      into[starts[(this.#to[i] as number) + 1]!++] = this.#from[i] as number;
    const reaches = new Uint8Array(states);
    const queue = [...goals];
    for (const goal of goals) reaches[goal] = 1;
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      for (let i = starts[next] as number; i < (starts[next + 1] as number); i++) {
        const from = into[i] as number;
        if (reaches[from] === 1) continue;
        reaches[from] = 1;
        queue.push(from);
      }
    }
    const found = reaches.indexOf(0);
    return found < 0 ? undefined : found;
  }
}

function grown(array: Int32Array): Int32Array<ArrayBuffer> {
  const more = new Int32Array(array.length * 2);
  more.set(array);
  return more;
}
