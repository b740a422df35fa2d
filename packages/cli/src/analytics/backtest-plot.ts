/** Draws forecasts as an SVG a person would rather look at than a table: what happened, what was said, and how sure. */
import type { PanelForecasts } from '@restitch/analytics';

const WIDTH = 1_100;
const PANEL_HEIGHT = 260;
const MARGIN = { left: 64, right: 20, top: 44, bottom: 34 };
/** Rows drawn: more would be a smear at this width. */
const ROWS = 480;

/** One panel a horizon, the last rows of the first series; forecasts stand at the time they are for. */
export function plotForecasts(panel: PanelForecasts, horizons: readonly number[]): string {
  const { data, forecasts } = panel;
  const values = data.values[0]!;
  const end = values.length;
  const start = Math.max(0, end - ROWS);
  const height = horizons.length * (PANEL_HEIGHT + MARGIN.top + MARGIN.bottom) + 10;
  const parts = horizons.map((h, hi) => {
    const shift = (source: Float64Array): Float64Array =>
      Float64Array.from({ length: end - start }, (_, k) => source[start + k - h] ?? Number.NaN);
    const low = shift(forecasts[0]!.lows[hi]!);
    const high = shift(forecasts[0]!.highs[hi]!);
    const actual = values.subarray(start, end);
    const scale = rangeOf([low, high, actual]);
    const top = hi * (PANEL_HEIGHT + MARGIN.top + MARGIN.bottom) + MARGIN.top;
    const place = { top, scale, count: end - start };
    return [
      `<text x="${MARGIN.left}" y="${top - 14}" class="title">${escapeXml(data.names[0]!)} · forecast ${h} ${h === 1 ? 'step' : 'steps'} ahead</text>`,
      axis(place),
      `<path class="band" d="${band(low, high, place)}"/>`,
      Number.isFinite(forecasts[0]!.limit) ? limitLine(forecasts[0]!.limit, place) : '',
      `<path class="actual" d="${line(actual, place)}"/>`,
      `<path class="forecast" d="${line(shift(forecasts[0]!.medians[hi]!), place)}"/>`,
    ].join('\n');
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" role="img">
<title>Forecasts of ${escapeXml(data.names[0]!)}</title>
<style>.title{font-size:15px;font-weight:600;fill:#1f2933}.tick{font-size:11px;fill:#7b8794}.grid{stroke:#e4e7eb}.band{fill:#2f80ed;fill-opacity:.16}.actual{fill:none;stroke:#1f2933;stroke-width:1.2}.forecast{fill:none;stroke:#2f80ed;stroke-width:1.4}.limit{stroke:#d64545;stroke-dasharray:6 4}</style>
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
${parts.join('\n')}
<text x="${WIDTH - MARGIN.right}" y="20" text-anchor="end" class="tick">black: what happened · blue: median and 80 % band · red: limit</text>
</svg>
`;
}

interface Place {
  readonly top: number;
  readonly scale: { readonly low: number; readonly high: number };
  readonly count: number;
}

function rangeOf(series: readonly Float64Array[]): { low: number; high: number } {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const values of series) {
    for (const v of values) {
      if (!Number.isFinite(v)) continue;
      low = Math.min(low, v);
      high = Math.max(high, v);
    }
  }
  return high > low ? { low, high } : { low: low - 1, high: high + 1 };
}

const x = (i: number, place: Place): string =>
  (MARGIN.left + (i / Math.max(1, place.count - 1)) * (WIDTH - MARGIN.left - MARGIN.right)).toFixed(1);
const y = (value: number, place: Place): string =>
  (
    place.top +
    PANEL_HEIGHT -
    ((value - place.scale.low) / (place.scale.high - place.scale.low)) * PANEL_HEIGHT
  ).toFixed(1);

function line(values: Float64Array, place: Place): string {
  let path = '';
  let drawing = false;
  values.forEach((value, i) => {
    if (!Number.isFinite(value)) {
      drawing = false;
      return;
    }
    path += `${drawing ? 'L' : 'M'}${x(i, place)} ${y(value, place)}`;
    drawing = true;
  });
  return path;
}

function band(low: Float64Array, high: Float64Array, place: Place): string {
  const known = [...low.keys()].filter((i) => Number.isFinite(low[i]!) && Number.isFinite(high[i]!));
  if (known.length === 0) return '';
  const up = known.map((i) => `${x(i, place)} ${y(high[i]!, place)}`);
  const down = known.reverse().map((i) => `${x(i, place)} ${y(low[i]!, place)}`);
  return `M${[...up, ...down].join('L')}Z`;
}

function axis(place: Place): string {
  return [0, 0.25, 0.5, 0.75, 1]
    .map((part) => {
      const value = place.scale.low + part * (place.scale.high - place.scale.low);
      const at = y(value, place);
      return `<line class="grid" x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${at}" y2="${at}"/><text class="tick" x="${MARGIN.left - 8}" y="${Number(at) + 4}" text-anchor="end">${value.toPrecision(3)}</text>`;
    })
    .join('');
}

function limitLine(limit: number, place: Place): string {
  if (limit < place.scale.low || limit > place.scale.high) return '';
  const at = y(limit, place);
  return `<line class="limit" x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${at}" y2="${at}"/>`;
}

function escapeXml(text: string): string {
  return text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}
