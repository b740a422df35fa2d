/**
 * Can incidents be foreseen on a machine that was never seen? One machine is left out, trees learn from all others, and the
 * left-out machine is gone through in order of time: each statement is scored when its window has passed. Reported are the
 * share of rows where anything was claimed to be known, and the Brier skill on exactly these.
 */
import { createBinMatrix } from '../boosting/bin-matrix.js';
import { DEFAULT_BOOST, predictBoosted, trainOnBins } from '../boosting/boosted-trees.js';
import { PanelForecaster } from '../forecast/panel-forecaster.js';
import { averagePrecision } from '../measure/event-scores.js';
import { FailureRisk, type FailureStatement } from '../risk/failure-risk.js';
import { createRandom } from '../seeded-random.js';
import type { PanelData } from './panel-data.js';

/** A machine: a panel of one series, and 1 in the rows that lie inside an incident. */
export interface IncidentSeries {
  readonly data: PanelData;
  readonly incident: Uint8Array;
}

/** One machine at one horizon, while it was left out. */
export interface IncidentScores {
  readonly name: string;
  readonly h: number;
  /** Rows outside incidents. */
  readonly rows: number;
  /** Share of them followed by an incident within the horizon. */
  readonly baseRate: number;
  readonly ap: number;
  /** Brier skill against the machine's own base rate, had every number been given out. */
  readonly skillIfAlwaysSaid: number;
  /** Share of rows where a number was given out, and the skill there; `unknown` when there was none. */
  readonly knownRatio: number;
  readonly skillWhereKnown: number | 'unknown';
  /** `unknown` unless the skill where something was said is positive. */
  readonly verdict: 'known' | 'unknown';
}

/** Rows of one machine: features, and per horizon whether an incident begins within it (NaN inside or past the end). */
interface MachineRows {
  readonly name: string;
  readonly count: number;
  readonly width: number;
  readonly features: Float32Array;
  readonly labels: readonly Float64Array[];
}

/** Every `TRAIN_STRIDE`th row of the others is learned from: neighbours say nearly the same. */
const TRAIN_STRIDE = 3;
/** Few and small trees: a handful of incidents carries no more. */
const INCIDENT_BOOST = {
  ...DEFAULT_BOOST,
  loss: { kind: 'logistic' },
  trees: 60,
  learningRate: 0.05,
  maxLeaves: 8,
  minLeafWeight: 2,
  rowRatio: 0.4,
  columnRatio: 0.3,
  l2: 10,
} as const;

/** Leaves each machine out once. */
export function runIncidents(
  machines: readonly IncidentSeries[],
  horizons: readonly number[],
  seed: number,
): readonly IncidentScores[] {
  const rows = machines.map((machine) => collectRows(machine, horizons, seed));
  return rows.flatMap((machine, i) =>
    horizons.map((h, hi) =>
      scoreMachine(
        machine,
        rows.filter((_, k) => k !== i),
        { h, hi },
        seed + i,
      ),
    ),
  );
}

function collectRows(machine: IncidentSeries, horizons: readonly number[], seed: number): MachineRows {
  const { data, incident } = machine;
  const panel = new PanelForecaster({
    seriesCount: 1,
    horizons: [1, 15],
    stepS: data.stepS,
    calendar: data.calendar,
    auxCount: data.auxNames.length,
    trainingRows: 0,
    seed,
  });
  const count = data.timesS.length;
  const width = panel.frame.featureCount;
  const features = new Float32Array(count * width);
  const auxWidth = data.auxNames.length;
  for (let row = 0; row < count; row++) {
    panel.observe(
      data.timesS[row]!,
      data.values[0]!.subarray(row, row + 1),
      data.aux?.subarray(row * auxWidth, (row + 1) * auxWidth),
    );
    features.set(panel.featuresOf(0), row * width);
  }
  return {
    name: data.names[0]!,
    count,
    width,
    features,
    labels: horizons.map((h) => labelRows(incident, h)),
  };
}

function labelRows(incident: Uint8Array, horizon: number): Float64Array {
  return Float64Array.from(incident, (inside, row) => {
    if (inside === 1 || row + horizon >= incident.length) return Number.NaN;
    for (let k = row + 1; k <= row + horizon; k++) if (incident[k] === 1) return 1;
    return 0;
  });
}

function scoreMachine(
  machine: MachineRows,
  others: readonly MachineRows[],
  horizon: { readonly h: number; readonly hi: number },
  seed: number,
): IncidentScores {
  const { h, hi } = horizon;
  const labels = machine.labels[hi]!;
  const { score, priorRate } = trainOnOthers(others, hi, machine.width, seed);
  const risk = new FailureRisk(priorRate, h);
  const statements: (FailureStatement | undefined)[] = [];
  const said: { probability: number; baseRate: number; known: boolean; label: number }[] = [];
  for (let row = 0; row < machine.count; row++) {
    const matured = row - h;
    const earlier = statements[matured];
    if (earlier !== undefined) risk.mature(earlier, labels[matured] === 1);
    if (Number.isNaN(labels[row]!)) {
      statements.push(undefined);
      continue;
    }
    const statement = risk.assess(score(machine, row));
    statements.push(statement);
    said.push({
      probability: statement.probability,
      baseRate: statement.baseRate,
      known: statement.risk !== 'unknown',
      label: labels[row]!,
    });
  }
  const known = said.filter((s) => s.known);
  const skillWhereKnown = known.length === 0 ? 'unknown' : brierSkill(known);
  return {
    name: machine.name,
    h,
    rows: said.length,
    baseRate: said.reduce((sum, s) => sum + s.label, 0) / said.length,
    ap: averagePrecision(
      Float64Array.from(said, (s) => s.probability),
      Uint8Array.from(said, (s) => s.label),
    ),
    skillIfAlwaysSaid: brierSkill(said),
    knownRatio: known.length / said.length,
    skillWhereKnown,
    verdict: skillWhereKnown !== 'unknown' && skillWhereKnown > 0 ? 'known' : 'unknown',
  };
}

function brierSkill(said: readonly { probability: number; baseRate: number; label: number }[]): number {
  let model = 0;
  let reference = 0;
  for (const { probability, baseRate, label } of said) {
    model += (probability - label) ** 2;
    reference += (baseRate - label) ** 2;
  }
  return 1 - model / reference;
}

function trainOnOthers(others: readonly MachineRows[], hi: number, width: number, seed: number) {
  const random = createRandom(seed);
  const picked = others.flatMap((machine) =>
    Array.from({ length: machine.count }, (_, row) => ({ machine, row })).filter(
      ({ row }) => row % TRAIN_STRIDE === 0 && !Number.isNaN(machine.labels[hi]![row]!),
    ),
  );
  const features = new Float32Array(picked.length * width);
  const targets = new Float64Array(picked.length);
  picked.forEach(({ machine, row }, i) => {
    features.set(machine.features.subarray(row * width, (row + 1) * width), i * width);
    targets[i] = machine.labels[hi]![row]!;
  });
  const matrix = createBinMatrix(features, picked.length, width, random);
  const trees = trainOnBins(matrix, targets, undefined, INCIDENT_BOOST, random);
  return {
    priorRate: targets.reduce((sum, v) => sum + v, 0) / Math.max(1, targets.length),
    score: (machine: MachineRows, row: number) => predictBoosted(trees, machine.features, row * width),
  };
}
