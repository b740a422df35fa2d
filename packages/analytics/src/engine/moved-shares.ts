/** What moves have done to each series of a metric: which share of its load stayed, and what came from where. */
/** Load that is at `to` and would be at `from`, as a share of either's whole. */
export interface SeriesFlow {
  readonly from: number;
  readonly to: number;
  readonly left: number;
  readonly came: number;
}

/** One series. */
export interface MovedShare {
  /** Share of the load that would be here without moves and still is; 1 if nothing left. */
  readonly stays: number;
  /** Load that came, by the series it came from. */
  readonly arrived: readonly SeriesFlow[];
}

const untouched: MovedShare = { stays: 1, arrived: [] };

/** See the head of the file. */
export class MovedShares {
  /** To be added to the values to have the load without moves. */
  readonly corrections: Float64Array;
  private readonly shares = new Map<number, MovedShare>();

  /** `values` as observed, NaN where missing. */
  constructor(values: Float64Array, flows: readonly SeriesFlow[]) {
    this.corrections = new Float64Array(values.length);
    for (const series of new Set(flows.flatMap((flow) => [flow.from, flow.to]))) {
      const arrived = flows.filter((flow) => flow.to === series && flow.came > 0);
      const came = arrived.reduce((total, flow) => total + flow.came, 0);
      const gone = flows.filter((flow) => flow.from === series && flow.left > 0);
      const left = gone.reduce((total, flow) => total + flow.left, 0);
      const own = Math.max(0, values[series]! - came);
      // What came is never more than what is seen: the rest of the endpoint would have a negative load.
      this.corrections[series] = left + own - values[series]!;
      const stays = left > 0 ? own / (own + left) : 1;
      this.shares.set(series, { stays: stays >= 0 ? stays : 1, arrived });
    }
  }

  of(series: number): MovedShare {
    return this.shares.get(series) ?? untouched;
  }
}
