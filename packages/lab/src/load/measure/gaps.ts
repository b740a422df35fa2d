/**
 * The gap a client saw: the worst answer that overlaps a window, less what that session is used to.
 *
 * The same measure is taken of sessions that were not moved, over windows of the same length at the same time, because
 * on a busy machine they pause as well.
 */
import { quantileOfSorted } from './percentiles.js';

/** One session's answers, prepared for many questions. */
export interface AnswerSeries {
  /** Instants from which answers count, ascending. */
  readonly fromMs: Float64Array;
  /** How long each took. */
  readonly tookMs: Float64Array;
  /** What the session is used to. */
  readonly medianMs: number;
  /** Longest of all; bounds how far back one must look. */
  readonly longestMs: number;
}

/** A line client's samples: pairs (scheduled instant, latency). */
export function toAnswerSeries(samples: Float64Array): AnswerSeries {
  return toSeries(samples, (atMs) => atMs);
}

/** A bulk client's samples: pairs (end of a pause, its length). Nothing is subtracted: a stream's ordinary pause is none. */
export function toPauseSeries(samples: Float64Array): AnswerSeries {
  return { ...toSeries(samples, (endMs, lengthMs) => endMs - lengthMs), medianMs: 0 };
}

/** The gap in [fromMs, toMs], at least 0; undefined if no answer overlaps the window. */
export function findGapMs(series: AnswerSeries, fromMs: number, toMs: number): number | undefined {
  let worstMs = -1;
  const start = lowerBound(series.fromMs, fromMs - series.longestMs);
  for (let i = start; i < series.fromMs.length; i++) {
    const beginMs = series.fromMs[i] ?? 0;
    if (beginMs > toMs) break;
    const tookMs = series.tookMs[i] ?? 0;
    if (beginMs + tookMs >= fromMs) worstMs = Math.max(worstMs, tookMs);
  }
  return worstMs < 0 ? undefined : Math.max(0, worstMs - series.medianMs);
}

function toSeries(samples: Float64Array, fromOf: (atMs: number, valueMs: number) => number): AnswerSeries {
  const count = samples.length / 2;
  const fromMs = new Float64Array(count);
  const tookMs = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const value = samples[2 * i + 1] ?? 0;
    fromMs[i] = fromOf(samples[2 * i] ?? 0, value);
    tookMs[i] = value;
  }
  const sorted = tookMs.slice().sort();
  return {
    fromMs,
    tookMs,
    medianMs: quantileOfSorted(sorted, 0.5),
    longestMs: sorted[sorted.length - 1] ?? 0,
  };
}

/** Index of the first value that is not below `wanted`. */
function lowerBound(ascending: Float64Array, wanted: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ascending[middle] ?? 0) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
