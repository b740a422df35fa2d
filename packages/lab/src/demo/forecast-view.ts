/** Draws the load of one server and what is forecast of it as lines of text. */
import { overloadRatio } from '../lab/predict/overload.js';

/** What is drawn; columns are quarter seconds from the beginning, ratios shares of the quota. */
export interface ForecastPicture {
  readonly title: string;
  readonly loads: readonly number[];
  readonly columns: number;
  /** Median and P90 that are forecast, so many columns after the newest load. */
  readonly forecast?: { readonly ahead: number; readonly p50: number; readonly p90: number };
}

const rows = 8;
const highest = 1.2;

/** The lines of a picture, its title first. */
export function forecastLines(picture: ForecastPicture): string[] {
  const grid = Array.from({ length: rows }, () => Array.from({ length: picture.columns }, () => ' '));
  const put = (column: number, ratio: number, mark: string): void => {
    const line = grid[rows - 1 - rowOf(ratio)];
    if (line !== undefined && column >= 0 && column < picture.columns) line[column] = mark;
  };
  for (let column = 0; column < picture.columns; column++) put(column, overloadRatio, '╌');
  picture.loads.forEach((load, column) => {
    for (let row = 0; row <= rowOf(load); row++) put(column, (row + 0.5) * (highest / rows), '█');
  });
  drawForecast(picture, put);
  return [picture.title, ...grid.map((line, i) => `  ${labelOf(rows - 1 - i)} ${line.join('')}`)];
}

function drawForecast(
  { loads, forecast }: ForecastPicture,
  put: (column: number, ratio: number, mark: string) => void,
): void {
  const now = loads.at(-1);
  if (forecast === undefined || now === undefined) return;
  for (let step = 1; step <= forecast.ahead; step++) {
    const part = step / forecast.ahead;
    put(loads.length - 1 + step, now + part * (forecast.p90 - now), '░');
    put(loads.length - 1 + step, now + part * (forecast.p50 - now), '•');
  }
}

function rowOf(ratio: number): number {
  return Math.max(0, Math.min(rows - 1, Math.floor((ratio / highest) * rows)));
}

function labelOf(row: number): string {
  return (row === rowOf(overloadRatio) ? 'limit' : '').padEnd(5);
}
