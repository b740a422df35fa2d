/** Draws a repeat as SVG: for each mode the load of every endpoint, the limit, what the load would have been, and the moves. */
import type { CpuSample } from './cpu-sampler.js';
import { overloadRatio } from './overload.js';
import type { PredictRun } from './predict-run.js';
import { loadedEndpoint } from './traffic.js';

const width = 1100;
const panelHeight = 170;
const margin = { left: 64, right: 20, top: 40, bottom: 28 };
const highestRatio = 1.5;
/** Samples averaged for a line that a person can follow: one second. */
const smoothed = 4;

const style =
  '.title{font-size:15px;font-weight:600;fill:#1f2933}.tick{font-size:11px;fill:#7b8794}.grid{stroke:#e4e7eb}' +
  '.demand{fill:none;stroke:#cbd2d9;stroke-width:2;stroke-dasharray:2 4}.other{fill:none;stroke:#9fb3c8;stroke-width:1.1}' +
  '.loaded{fill:none;stroke:#1f2933;stroke-width:1.6}.limit{stroke:#d64545;stroke-dasharray:6 4}.over{fill:#d64545;fill-opacity:.18}' +
  '.move{stroke:#2f80ed;stroke-opacity:.6;stroke-width:1.4}';

/** One panel a run, one below the other on the same axes. */
export function plotRuns(title: string, runs: readonly PredictRun[]): string {
  const step = panelHeight + margin.top + margin.bottom;
  const height = runs.length * step + 10;
  const lengthMs = Math.max(...runs.map((run) => run.traffic.lengthMs));
  const panels = runs.map((run, i) => drawPanel(run, { top: i * step + margin.top, lengthMs }));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" role="img">
<title>restitch lab predict, ${title}</title>
<style>${style}</style>
<rect width="${width}" height="${height}" fill="#fff"/>
${panels.join('\n')}
<text x="${width - margin.right}" y="20" text-anchor="end" class="tick">black: CPU of the loaded endpoint · grey: the others · dotted: its demand without moves · red: limit · blue: moves</text>
</svg>
`;
}

interface Place {
  readonly top: number;
  readonly lengthMs: number;
}

function drawPanel(run: PredictRun, place: Place): string {
  const bottom = place.top + panelHeight;
  const committed = run.moves.filter((move) => move.outcome === 'committed');
  const lines = [...run.samples].map(([name, samples]) => {
    const kind = name === loadedEndpoint ? 'loaded' : 'other';
    return `<path class="${kind}" d="${pathOf(smooth(samples, run.startMs), place)}"/>`;
  });
  const over = (run.samples.get(loadedEndpoint) ?? [])
    .filter((s) => s.ratio >= overloadRatio && s.atMs > run.startMs)
    .map((s) => {
      const from = x(s.atMs - s.lengthMs - run.startMs, place);
      const to = x(s.atMs - run.startMs, place);
      return `<rect class="over" x="${from.toFixed(1)}" y="${place.top}" width="${(to - from).toFixed(1)}" height="${panelHeight}"/>`;
    });
  const ticks = committed.map((move) => {
    const at = x(move.atMs - run.startMs, place).toFixed(1);
    return `<line class="move" x1="${at}" x2="${at}" y1="${bottom - 12}" y2="${bottom}"/>`;
  });
  return [
    `<text x="${margin.left}" y="${place.top - 12}" class="title">${run.mode}: ${committed.length} moves</text>`,
    ...over,
    axes(place),
    `<path class="demand" d="${pathOf(run.traffic.load, place)}"/>`,
    ...lines.toReversed(),
    ...ticks,
  ].join('\n');
}

function smooth(samples: readonly CpuSample[], startMs: number): Array<readonly [number, number]> {
  return samples.flatMap((sample, i) => {
    const part = samples.slice(Math.max(0, i - smoothed + 1), i + 1);
    const atMs = sample.atMs - startMs;
    return atMs < 0 ? [] : [[atMs, part.reduce((sum, s) => sum + s.ratio, 0) / part.length] as const];
  });
}

function axes(place: Place): string {
  const levels = [0, 0.5, 1, 1.5].map((ratio) => {
    const at = y(ratio, place).toFixed(1);
    return `<line class="grid" x1="${margin.left}" x2="${width - margin.right}" y1="${at}" y2="${at}"/><text class="tick" x="${margin.left - 8}" y="${Number(at) + 4}" text-anchor="end">${100 * ratio} %</text>`;
  });
  const seconds = Array.from({ length: Math.floor(place.lengthMs / 10_000) + 1 }, (_, i) => {
    const at = x(i * 10_000, place).toFixed(1);
    return `<text class="tick" x="${at}" y="${place.top + panelHeight + 16}" text-anchor="middle">${10 * i} s</text>`;
  });
  const limit = y(overloadRatio, place).toFixed(1);
  return [
    ...levels,
    ...seconds,
    `<line class="limit" x1="${margin.left}" x2="${width - margin.right}" y1="${limit}" y2="${limit}"/>`,
  ].join('');
}

function pathOf(points: ReadonlyArray<readonly [number, number]>, place: Place): string {
  const visible = points.filter(([atMs]) => atMs <= place.lengthMs);
  // The last corner of a demand holds to the end.
  const last = visible.at(-1);
  const all = last === undefined ? [] : [...visible, [place.lengthMs, last[1]] as const];
  return all
    .map(
      ([atMs, ratio], i) =>
        `${i === 0 ? 'M' : 'L'}${x(atMs, place).toFixed(1)} ${y(ratio, place).toFixed(1)}`,
    )
    .join('');
}

const x = (atMs: number, place: Place): number =>
  margin.left + (atMs / place.lengthMs) * (width - margin.left - margin.right);

const y = (ratio: number, place: Place): number =>
  place.top + panelHeight * (1 - Math.min(highestRatio, Math.max(0, ratio)) / highestRatio);
