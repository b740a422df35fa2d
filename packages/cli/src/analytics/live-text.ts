/** Answers about the analytics as lines for people. */
import { formatTable } from '../operate/format-table.js';
import type { AnswerTo } from '@restitch/wire';

type EngineAnswer = Exclude<AnswerTo<'analytics.status'>['engine'], { readonly unavailable: string }>;
type EndpointLine = EngineAnswer['endpoints'][number];
type Explanation = AnswerTo<'analytics.explain'>;
type MetricAnswer = EngineAnswer['metrics'][number];
type PlanAnswer = AnswerTo<'analytics.plan'>;
type StatusAnswer = AnswerTo<'analytics.status'>;

const figure = (value: number | null | undefined, digits = 2): string =>
  value === null || value === undefined ? '–' : value.toFixed(digits);
const percent = (value: number | string | null | undefined): string =>
  typeof value === 'number' ? `${(100 * value).toFixed(1)} %` : (value ?? '–');

const endpointColumns = [
  { title: 'ENDPOINT', text: (e: EndpointLine) => e.name },
  { title: 'SESSIONS', text: (e: EndpointLine) => String(e.sessions), isNumber: true },
  { title: 'LOAD', text: (e: EndpointLine) => figure(e.load), isNumber: true },
  { title: 'P50', text: (e: EndpointLine) => figure(e.p50), isNumber: true },
  { title: 'P90', text: (e: EndpointLine) => figure(e.p90), isNumber: true },
  { title: 'LIMIT', text: (e: EndpointLine) => figure(e.limit), isNumber: true },
  { title: 'OVERLOAD', text: (e: EndpointLine) => percent(e.overloadRisk), isNumber: true },
  { title: 'FAILURE', text: (e: EndpointLine) => percent(e.failureRisk), isNumber: true },
  { title: 'PATH', text: (e: EndpointLine) => percent(e.pathRisk), isNumber: true },
  { title: 'SCORE', text: (e: EndpointLine) => figure(e.score, 3), isNumber: true },
  { title: 'NOTE', text: noteOf },
];

function noteOf(e: EndpointLine): string {
  const notes: string[] = [];
  if (e.uncertain) notes.push('does not report');
  else if ((e.unknown ?? []).length > 0) notes.push(`no figures of ${(e.unknown ?? []).join(', ')}`);
  if (typeof e.eventInS === 'number') notes.push(`ends in ${Math.round(e.eventInS)} s`);
  if (e.need === 'all') notes.push('everything should leave');
  else if (e.need !== undefined && e.need > 0) notes.push(`${e.need.toFixed(2)} should leave`);
  return notes.join(', ');
}

/** Mode, brakes, skill, endpoints, and what happened last. */
export function statusText({ host, engine }: StatusAnswer): string {
  const { given, committed, reverted, refused } = host.moves;
  const lines = [
    `mode ${host.mode}, engine ${host.engine}${host.restarts > 0 ? `, started anew ${host.restarts} times` : ''}`,
    `moves given ${given}, committed ${committed}, reverted ${reverted}, refused ${refused}`,
  ];
  if ('unavailable' in engine) lines.push(`the engine does not answer: ${engine.unavailable}`);
  else {
    lines.push(
      `rule ${engine.rule}, brakes ${engine.brakes.join(', ') || 'none'}, moves under way ${engine.pendingMoves}`,
      ...engine.metrics.flatMap(metricLines),
    );
    const lacking = engine.insufficientCapacity;
    if (lacking !== null)
      lines.push(
        `insufficient capacity: ${lacking.missing.toFixed(2)} CPUs on ${lacking.endpoints.join(', ')}`,
      );
    if (engine.emptiable !== null) lines.push(`could be emptied and switched off: ${engine.emptiable}`);
    lines.push('', formatTable(endpointColumns, engine.endpoints).trimEnd());
  }
  const events = host.events.slice(-8).map((e) => `${new Date(e.atMs).toISOString()} ${e.name}: ${e.text}`);
  return `${[...lines, ...(events.length > 0 ? ['', ...events] : [])].join('\n')}\n`;
}

function metricLines(m: MetricAnswer): string[] {
  const skills = m.horizonsS.map((s, i) => `${s} s ${percent(m.pinball[i]?.skill)}`).join(', ');
  const lines = [`${m.metric}: better than the last value by ${skills}`];
  if (m.overload !== null) {
    const { brierSkill, calibrationError, model, shadow } = m.overload;
    lines.push(
      `  overload (${model}): Brier skill against the reactive rule ${figure(brierSkill.skill, 3)} ± luck ${figure(brierSkill.certainty, 1)}, calibration error ${figure(calibrationError, 3)}${shadow === null ? '' : `, a model in shadow: ${figure(shadow.skill, 3)}`}`,
    );
  }
  return lines;
}

/** A plan, most urgent first. */
export function planText({ mode, plan }: PlanAnswer): string {
  if (plan === null) return `mode ${mode}: nothing is planned\n`;
  const head = `plan ${plan.planId} (${plan.disposition}, rule ${plan.rule}): ${plan.moves.length} moves\n`;
  const lacking = plan.insufficientCapacity;
  const lack =
    lacking === undefined
      ? ''
      : `insufficient capacity: ${lacking.missing.toFixed(2)} CPUs on ${lacking.endpoints.join(', ')}\n`;
  if (plan.moves.length === 0) return head + lack;
  return head + lack + formatTable(moveColumns, plan.moves);
}

type PlannedMove = NonNullable<PlanAnswer['plan']>['moves'][number];

const moveColumns = [
  { title: 'SESSION', text: (m: PlannedMove) => m.session },
  { title: 'FROM', text: (m: PlannedMove) => m.from },
  { title: 'TO', text: (m: PlannedMove) => m.to },
  { title: 'SCORE', text: (m: PlannedMove) => m.score.toFixed(3), isNumber: true },
  { title: 'THERE', text: (m: PlannedMove) => m.scoreThere.toFixed(3), isNumber: true },
  { title: 'GAIN', text: (m: PlannedMove) => m.gain.toFixed(3), isNumber: true },
  { title: 'COST', text: (m: PlannedMove) => m.cost.toFixed(3), isNumber: true },
  { title: 'BECAUSE', text: (m: PlannedMove) => m.reasons.join('; ') },
];

/** Why a session or an endpoint has its score. */
export function explanationText(e: Explanation): string {
  if (e.kind === 'endpoint') {
    const metrics = Object.entries(e.metrics).map(
      ([name, value]) => `${name} ${Number(value.toPrecision(4))}`,
    );
    const forecasts = e.forecasts.flatMap((f) =>
      f.horizons.map(
        (h) => `  ${f.metric} in ${h.aheadS} s: ${figure(h.p50)} (${figure(h.p10)} to ${figure(h.p90)})`,
      ),
    );
    return `${formatTable(endpointColumns, [e])}${metrics.join(', ')}\n${forecasts.join('\n')}\n`;
  }
  const lines = [
    `session ${e.session} of ${e.client}${e.location ? ` (${e.location})` : ''} on ${e.endpoint ?? '–'}: score ${figure(e.score, 3)}`,
    `  load ${figure(e.load, 4)} CPUs, ${figure(e.requestsPerSec, 1)} requests/s, expected to live ${figure(e.expectedLifeS, 0)} s more${e.pinned ? ', pinned' : ''}${e.moving ? ', being moved' : ''}${e.buddy ? `, replica at ${e.buddy}` : ''}`,
    ...(e.contributions ?? []).map(
      (c) => `  ${c.cause}: probability ${percent(c.risk)}, ${percent(c.share)} of the risk`,
    ),
  ];
  if ((e.unknown ?? []).length > 0) lines.push(`  unknown: ${(e.unknown ?? []).join(', ')}`);
  for (const t of e.targets ?? []) {
    const verdict = t.allowed
      ? `gain ${t.gain.toFixed(3)}, cost ${t.cost.toFixed(3)}, room ${t.room.toFixed(2)}${t.isBuddy === true ? ', its buddy: only the difference travels' : ''}${(t.nearer ?? 0) > 0 ? ', nearer to the client' : ''}`
      : 'not allowed';
    lines.push(`  on ${t.endpoint} its score would be ${t.score.toFixed(3)}: ${verdict}`);
  }
  if (e.planned !== null) lines.push(`  planned to ${e.planned.to}: ${e.planned.reasons.join('; ')}`);
  else if (e.movable === false)
    lines.push('  not to be moved now: too new where it is, about to end, or pinned');
  return `${lines.join('\n')}\n`;
}
