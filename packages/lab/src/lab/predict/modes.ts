/** What the modes of `lab predict` are in the access point's configuration. */
import { RestitchError } from '@restitch/core';
import { overloadRatio } from './overload.js';

/** early-N: the reactive rule with its trigger at N % of the limit. */
export const predictModes = ['none', 'reactive', 'early-60', 'early-70', 'early-80', 'predictive'] as const;
export type PredictMode = (typeof predictModes)[number];

/** The reactive rule with triggers below the limit. */
export const earlyModes = ['early-60', 'early-70', 'early-80'] as const satisfies readonly PredictMode[];

const triggers: Readonly<Partial<Record<PredictMode, number>>> = {
  'early-60': 0.6,
  'early-70': 0.7,
  'early-80': 0.8,
};

/** Listener of the sessions that are worth more than others. */
export const preciousService = 'precious';

/** The longest horizon: what a score promises, it promises for so long. */
export const horizonMs = 6000;

/**
 * The section `analytics`. All modes have the same planner, limits and budgets; `none` runs in shadow, so that its scores can be
 * compared with what happens when nobody acts on them. A minute stands for an hour here, and so horizons and lives are short.
 */
export function analyticsOf(mode: PredictMode, isInverted: boolean): Readonly<Record<string, unknown>> {
  return {
    mode: mode === 'none' ? 'shadow' : 'act',
    rule: mode === 'none' || mode === 'predictive' ? 'predictive' : 'reactive',
    reactiveTrigger: triggers[mode] ?? 1,
    horizons: ['2s', '4s', `${horizonMs}ms`],
    limits: { cpu: overloadRatio },
    budgets: { minimumLife: '10s' },
    scores: { enter: 0.7, leave: 0.85 },
    classes: { [preciousService]: { weight: 5 } },
    model: isInverted && mode === 'predictive' ? 'inverted' : 'normal',
  };
}

/** Reads `--modes`: `reactive-early` stands for its three triggers. Throws `usage`. */
export function parseModes(text: string): readonly PredictMode[] {
  const modes = text.split(',').flatMap((word): readonly string[] => {
    return word.trim() === 'reactive-early' ? earlyModes : [word.trim()];
  });
  for (const mode of modes) {
    if (!predictModes.some((known) => known === mode)) {
      throw new RestitchError(
        'usage',
        `mode ${mode}: expected some of none, reactive, reactive-early, ${predictModes.slice(2).join(', ')}`,
      );
    }
  }
  return [...new Set(modes)] as PredictMode[];
}
