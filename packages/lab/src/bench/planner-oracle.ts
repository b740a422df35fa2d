/**
 * The linear-programming bound of a plan, by HiGHS: the same needs, rooms, budgets and values the planner works with, with
 * sessions divisible. No plan can be better, so plan / bound is a guarantee and not a comparison with another heuristic.
 * HiGHS is a development dependency, loaded only here.
 */
import {
  costOf,
  type FleetSnapshot,
  gainOf,
  isAllowed,
  type Objective,
  type PlanContext,
  preparePlan,
} from '@restitch/analytics';
import { RestitchError } from '@restitch/core';

/** The part of HiGHS that is used. */
export interface LpSolver {
  /** Highest value of Σ value·x under rows of upper bounds, x in [0, 1]. */
  maximise(problem: LpProblem): number;
}

/** A sparse problem by columns. */
interface LpProblem {
  readonly values: readonly number[];
  readonly rowUpper: readonly number[];
  readonly starts: readonly number[];
  readonly indices: readonly number[];
  readonly coefficients: readonly number[];
}

/** What is used of the loaded library. */
interface HighsModule {
  withModel<T>(model: Readonly<Record<string, unknown>>, operation: (model: SolvedModel) => T): T;
}

interface SolvedModel {
  run(): unknown;
  getObjectiveValue(): number;
}

/** Loads HiGHS. Throws `unsupported_host` when it is not installed. */
export async function openHighs(): Promise<LpSolver> {
  let loader: () => Promise<HighsModule>;
  try {
    // The package's types describe a CommonJS module, what Node loads is an ES module: hence the detour.
    const loaded: unknown = await import('highs');
    loader = (loaded as { readonly default: () => Promise<HighsModule> }).default;
  } catch (cause) {
    throw new RestitchError(
      'unsupported_host',
      'planner benchmark: the development dependency highs is not installed',
      {
        cause,
      },
    );
  }
  const highs = await loader();
  return {
    maximise: (problem) =>
      highs.withModel(
        {
          numCols: problem.values.length,
          numRows: problem.rowUpper.length,
          // HiGHS minimises by default.
          colCost: problem.values.map((v) => -v),
          colLower: new Float64Array(problem.values.length),
          colUpper: new Float64Array(problem.values.length).fill(1),
          rowLower: new Float64Array(problem.rowUpper.length).fill(Number.NEGATIVE_INFINITY),
          rowUpper: problem.rowUpper,
          matrix: {
            format: 'csc',
            numRows: problem.rowUpper.length,
            numCols: problem.values.length,
            starts: problem.starts,
            indices: problem.indices,
            values: problem.coefficients,
          },
        },
        (model) => {
          model.run();
          return -model.getObjectiveValue();
        },
      ),
  };
}

/** Upper bound of the value of any plan for this fleet. */
export function planBound(fleet: FleetSnapshot, objective: Objective, solver: LpSolver): number {
  return solver.maximise(buildProblem(preparePlan(fleet, objective)));
}

function buildProblem(context: PlanContext): LpProblem {
  const { fleet, objective, candidates, targets, need, room } = context;
  const { sessions, endpoints } = fleet;
  // Rows: the budget; per endpoint need, room, moves out, moves in; then each session at most once.
  const n = endpoints.count;
  const rowUpper = [objective.maxMoves];
  for (let e = 0; e < n; e++) rowUpper.push(Number.isFinite(need[e]!) ? need[e]! : 1e30);
  for (let e = 0; e < n; e++) rowUpper.push(room[e]!);
  for (let e = 0; e < n; e++) rowUpper.push(objective.maxMovesPerSource);
  for (let e = 0; e < n; e++) rowUpper.push(objective.maxMovesPerTarget);
  for (const _ of candidates) rowUpper.push(1);
  const values: number[] = [];
  const starts: number[] = [0];
  const indices: number[] = [];
  const coefficients: number[] = [];
  candidates.forEach((s, i) => {
    const from = sessions.endpoint[s]!;
    const load = sessions.load[s]!;
    for (const to of targets) {
      if (!isAllowed(fleet, s, to)) continue;
      const value = gainOf(fleet, objective, s, from, to) - costOf(fleet, objective, s, to);
      if (value <= 0) continue;
      values.push(value);
      indices.push(0, 1 + from, 1 + n + to, 1 + 2 * n + from, 1 + 3 * n + to, 1 + 4 * n + i);
      coefficients.push(1, load, load, 1, 1, 1);
      starts.push(indices.length);
    }
  });
  return { values, rowUpper, starts, indices, coefficients };
}
