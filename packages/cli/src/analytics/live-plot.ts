/** Pictures of the live analytics as SVG: what an endpoint did and will do, what a score is made of, how honest it has been. */
import type { AnswerTo } from '@restitch/wire';

type EngineAnswer = Exclude<AnswerTo<'analytics.status'>['engine'], { readonly unavailable: string }>;
type Explanation = AnswerTo<'analytics.explain'>;
type MetricAnswer = EngineAnswer['metrics'][number];
type PlannedMoveAnswer = NonNullable<AnswerTo<'analytics.plan'>['plan']>['moves'][number];

const WIDTH = 900;
const PANEL = 220;
const LEFT = 64;
const RIGHT = 20;
const STYLE =
  '<style>.title{font-size:15px;font-weight:600;fill:#1f2933}.tick{font-size:11px;fill:#7b8794}.grid{stroke:#e4e7eb}.band{fill:#2f80ed;fill-opacity:.18}.actual{fill:none;stroke:#1f2933;stroke-width:1.3}.forecast{fill:none;stroke:#2f80ed;stroke-width:1.6}.limit{stroke:#d64545;stroke-dasharray:6 4}.bar{fill:#2f80ed}.dim{fill:#cbd2d9}</style>';

type EndpointStory = Extract<Explanation, { kind: 'endpoint' }>;
type SessionStory = Extract<Explanation, { kind: 'session' }>;

/** An endpoint's metrics: the past in black, median and 80 % band ahead in blue, the limit in red. */
export function plotEndpoint(story: EndpointStory): string {
  const panels = story.forecasts.map((f, i) => plotMetric(f, i * (PANEL + 60) + 40));
  return frame(`Endpoint ${story.name}`, story.forecasts.length * (PANEL + 60) + 30, panels.join('\n'));
}

function plotMetric(f: EndpointStory['forecasts'][number], top: number): string {
  const past = f.past.slice(-180);
  const ahead = f.horizons.at(-1)?.aheadS ?? 0;
  const values = [...past, f.limit, ...f.horizons.flatMap((h) => [h.p10, h.p90])];
  const high = Math.max(...values.map((v) => v ?? 0)) * 1.1 || 1;
  const x = (step: number): number =>
    LEFT + ((step + past.length) / (past.length + ahead)) * (WIDTH - LEFT - RIGHT);
  const y = (value: number): number => top + PANEL * (1 - value / high);
  const last = past.at(-1) ?? null;
  const known = f.horizons.flatMap((h) =>
    typeof h.p10 === 'number' && typeof h.p50 === 'number' && typeof h.p90 === 'number'
      ? [{ at: h.aheadS, p10: h.p10, p50: h.p50, p90: h.p90 }]
      : [],
  );
  const fan = last === null ? known : [{ at: 0, p10: last, p50: last, p90: last }, ...known];
  const up = fan.map((h) => `${x(h.at)} ${y(h.p90)}`);
  const down = [...fan].reverse().map((h) => `${x(h.at)} ${y(h.p10)}`);
  return [
    `<text class="title" x="${LEFT}" y="${top - 12}">${f.metric}</text>`,
    axis(top, high),
    fan.length > 1 ? `<path class="band" d="M${[...up, ...down].join('L')}Z"/>` : '',
    f.limit === null
      ? ''
      : `<line class="limit" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(f.limit)}" y2="${y(f.limit)}"/>`,
    `<path class="actual" d="${line(past, (i) => x(i - past.length + 1), y)}"/>`,
    fan.length > 1
      ? `<path class="forecast" d="M${fan.map((h) => `${x(h.at)} ${y(h.p50)}`).join('L')}"/>`
      : '',
  ].join('\n');
}

/** A session's score as a bar: what is left of certainty, and what each cause takes of it. */
export function plotSession(story: SessionStory): string {
  const parts = [
    { name: 'undisturbed', share: story.score ?? 0, colour: '#27ae60' },
    ...(story.contributions ?? []).map((c, i) => ({
      name: `${c.cause} (${(100 * c.risk).toFixed(1)} %)`,
      share: c.share,
      colour: ['#d64545', '#e67e22', '#8e44ad', '#2f80ed', '#7b8794'][i % 5]!,
    })),
  ];
  let at = LEFT;
  const bars = parts.map(({ name, share, colour }, i) => {
    const width = share * (WIDTH - LEFT - RIGHT);
    const bar = `<rect x="${at}" y="40" width="${width}" height="46" fill="${colour}"/>`;
    at += width;
    const y = 116 + 22 * i;
    return `${bar}<rect x="${LEFT}" y="${y - 11}" width="12" height="12" fill="${colour}"/><text class="tick" x="${LEFT + 20}" y="${y}">${escapeXml(name)}: ${(100 * share).toFixed(2)} %</text>`;
  });
  const unknown = (story.unknown ?? []).join(', ') || 'nothing';
  const foot = `<text class="tick" x="${LEFT}" y="${128 + 22 * parts.length}">unknown: ${escapeXml(unknown)}</text>`;
  return frame(`Session ${story.session}`, 150 + 22 * parts.length, `${bars.join('\n')}\n${foot}`);
}

/** Said against happened: on the diagonal, the probabilities are honest. */
export function plotReliability(metrics: readonly MetricAnswer[]): string {
  const size = 300;
  const parts = metrics.flatMap((m, i) => {
    const { overload } = m;
    if (overload === null) return [];
    const left = LEFT + i * (size + 80);
    const x = (p: number): number => left + p * size;
    const y = (p: number): number => 50 + size * (1 - p);
    const dots = overload.reliability.map(
      (r) =>
        `<circle class="bar" cx="${x(r.said)}" cy="${y(r.happened)}" r="${3 + Math.min(12, Math.sqrt(r.cases) / 2)}" fill-opacity=".7"/>`,
    );
    return [
      `<text class="title" x="${left}" y="38">${m.metric}: said → happened</text>`,
      `<rect x="${left}" y="50" width="${size}" height="${size}" fill="none" class="grid"/>`,
      `<line class="limit" x1="${x(0)}" y1="${y(0)}" x2="${x(1)}" y2="${y(1)}"/>`,
      ...dots,
    ];
  });
  return frame('How honest the probabilities have been', size + 80, parts.join('\n'));
}

/** Moves of a plan by gain (blue) and cost (grey), most urgent on top. */
export function plotPlan(moves: readonly PlannedMoveAnswer[]): string {
  const shown = moves.slice(0, 40);
  const most = Math.max(1e-9, ...shown.map((m) => Math.max(m.gain, m.cost)));
  const width = (value: number): number => (Math.max(0, value) / most) * (WIDTH - 420);
  const rows = shown.map((m, i) => {
    const y = 44 + i * 26;
    const name = escapeXml(`${m.session.slice(0, 18)}  ${m.from} → ${m.to}`);
    return `<text class="tick" x="16" y="${y + 12}">${name}</text><rect class="bar" x="400" y="${y}" width="${width(m.gain)}" height="9"/><rect class="dim" x="400" y="${y + 10}" width="${width(m.cost)}" height="9"/>`;
  });
  return frame(`${moves.length} planned moves: gain and cost`, 70 + shown.length * 26, rows.join('\n'));
}

/** Moves planned in each second of a replay, and those that were given out. */
export function plotReplay(seconds: readonly { atMs: number; planned: number; given: number }[]): string {
  const most = Math.max(1, ...seconds.map((s) => Math.max(s.planned, s.given)));
  const first = seconds[0]?.atMs ?? 0;
  const span = Math.max(1, (seconds.at(-1)?.atMs ?? 1) - first);
  const x = (atMs: number): number => LEFT + ((atMs - first) / span) * (WIDTH - LEFT - RIGHT);
  const y = (value: number): number => 50 + PANEL * (1 - value / most);
  const bars = seconds
    .filter((s) => s.given > 0)
    .map(
      (s) =>
        `<line stroke="#d64545" stroke-width="2" x1="${x(s.atMs)}" x2="${x(s.atMs)}" y1="${y(0)}" y2="${y(s.given)}"/>`,
    );
  const path = seconds.map((s) => `${x(s.atMs)} ${y(s.planned)}`).join('L');
  const body = `${axis(50, most)}<path class="forecast" d="M${path}"/>${bars.join('')}`;
  return frame('Moves planned (blue) and given out (red)', PANEL + 90, body);
}

function frame(title: string, height: number, body: string): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" role="img">
<title>${escapeXml(title)}</title>
${STYLE}
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
<text class="title" x="16" y="20">${escapeXml(title)}</text>
${body}
</svg>
`;
}

function axis(top: number, high: number): string {
  return [0, 0.5, 1]
    .map((part) => {
      const y = top + PANEL * (1 - part);
      return `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y}" y2="${y}"/><text class="tick" x="${LEFT - 8}" y="${y + 4}" text-anchor="end">${(part * high).toPrecision(2)}</text>`;
    })
    .join('');
}

function line(
  values: readonly (number | null)[],
  x: (i: number) => number,
  y: (v: number) => number,
): string {
  let path = '';
  let isDrawing = false;
  values.forEach((value, i) => {
    if (value === null) isDrawing = false;
    else {
      path += `${isDrawing ? 'L' : 'M'}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
      isDrawing = true;
    }
  });
  return path;
}

function escapeXml(text: string): string {
  return text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}
