/**
 * Does the forecast rescue? The engine with the defaults it is shipped with, after pasts in which nothing happened, against the
 * same traffic under the reactive rule and under none. Simulated: see `lab/predict/simulation.ts`.
 */
import { RestitchError } from '@restitch/core';
import { Simulation } from '../lab/predict/simulation.js';
import type { SimulatedPast } from '../lab/predict/simulated-past.js';
import { createRescueTraffic, rescuePatterns } from './rescue-patterns.js';
import type { RescuePattern } from './rescue-patterns.js';

/** What is measured. */
export interface RescueBenchOptions {
  readonly seeds: number;
  readonly patterns: readonly RescuePattern[];
}

export const defaultRescueBench: RescueBenchOptions = { seeds: 20, patterns: rescuePatterns };

const rules = ['none', 'reactive', 'predictive'] as const;
type RescueRule = (typeof rules)[number];

const pasts = {
  '2s': { lengthMs: 2000 },
  '25s': { lengthMs: 25_000 },
  '2min': { lengthMs: 120_000 },
  '10min': { lengthMs: 600_000 },
  quota: { lengthMs: 25_000, hasQuotaChange: true },
} as const satisfies Readonly<Record<string, SimulatedPast>>;

/** The forecast may be worse than the reactive rule by so much. */
const worseRatio = 0.1;
const worseSeconds = 1;

interface RuleFigures {
  /** Means over the seeds: seconds in which an endpoint was at its limit, and moves. */
  readonly overloadS: number;
  readonly moves: number;
}

interface RescueRow {
  readonly pattern: RescuePattern;
  readonly past: keyof typeof pasts;
  readonly rules: Readonly<Record<RescueRule, RuleFigures>>;
  /** Seconds of overload of the forecast above what it may have; 0 or less is well. */
  readonly excessS: number;
}

/** Figures of every pattern after every past. */
export interface RescueReport {
  readonly seeds: number;
  readonly rows: readonly RescueRow[];
  /** Rows in which the forecast was worse than the reactive rule by more than 10 % and 1 s. */
  readonly failed: readonly string[];
}

/** Reads `--patterns`. Throws `usage` for a name that is none. */
export function parseRescuePatterns(text: string): readonly RescuePattern[] {
  return text.split(',').map((name) => {
    const pattern = rescuePatterns.find((known) => known === name.trim());
    if (pattern !== undefined) return pattern;
    throw new RestitchError('usage', `--patterns ${text}: expected some of ${rescuePatterns.join(', ')}`);
  });
}

/** Runs all of it; `onRow` hears each row as soon as it is there. */
export function runRescueBench(
  options: RescueBenchOptions = defaultRescueBench,
  onRow: (row: RescueRow) => void = () => {},
): RescueReport {
  const seeds = Array.from({ length: options.seeds }, (_, i) => 9100 + i);
  const rows: RescueRow[] = [];
  for (const pattern of options.patterns) {
    // Where nobody is moved, the past changes nothing.
    const none = figuresOf(pattern, 'none', pasts['2s'], seeds);
    for (const past of Object.keys(pasts) as (keyof typeof pasts)[]) {
      const reactive = figuresOf(pattern, 'reactive', pasts[past], seeds);
      const predictive = figuresOf(pattern, 'predictive', pasts[past], seeds);
      const allowedS = reactive.overloadS + Math.max(worseRatio * reactive.overloadS, worseSeconds);
      const excessS = round(predictive.overloadS - allowedS);
      const row: RescueRow = { pattern, past, rules: { none, reactive, predictive }, excessS };
      rows.push(row);
      onRow(row);
    }
  }
  const failed = rows.filter(({ excessS }) => excessS > 0).map(({ pattern, past }) => `${pattern} ${past}`);
  return { seeds: seeds.length, rows, failed };
}

function figuresOf(
  pattern: RescuePattern,
  rule: RescueRule,
  past: SimulatedPast,
  seeds: readonly number[],
): RuleFigures {
  const runs = seeds.map((seed) =>
    new Simulation({ traffic: createRescueTraffic(pattern, seed), rule, seed, past }).run(),
  );
  const mean = (values: readonly number[]): number =>
    round(values.reduce((sum, value) => sum + value, 0) / values.length);
  return {
    overloadS: mean(runs.map((run) => run.overloadSeconds)),
    moves: mean(runs.map((run) => run.moves)),
  };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
