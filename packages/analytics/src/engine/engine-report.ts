/** What people ask an engine: how it is, why a session or an endpoint has its score, what is coming. Plain data. */
import {
  costOf,
  endpointScore,
  gainOf,
  isAllowed,
  isClassLeaving,
  isMovable,
  megabytesOf,
  nearerBy,
  needOf,
  roomOf,
  scoreOn,
  thresholdOf,
} from '../plan/objective.js';
import { explainSession } from '../plan/explain.js';
import { findEmptiable } from '../plan/scale-in.js';
import { SESSION_MOVING, SESSION_PINNED } from '../plan/fleet.js';
import type { AnalyticsEngine } from './analytics-engine.js';
import type { EndpointEntry } from './endpoint-book.js';
import { coresOf } from './load-forecasts.js';
import { plainSkill } from './metric-forecast.js';

/** Alternatives shown for a session. */
const MAX_TARGETS = 8;
/** Endpoints in a status. */
const MAX_ENDPOINTS = 200;

/** Mode, skill, calibration, brakes, and each endpoint in a line. */
export function engineStatus(engine: AnalyticsEngine): object {
  const { governor, options, brakes, loads, endpoints, sessions, live, lastPlan } = engine;
  const { skill } = loads;
  const emptiable = live === undefined ? undefined : findEmptiable(live.fleet, options.objective);
  return {
    mode: governor.mode,
    rule: options.rule === 'reactive' && governor.rule === 'predictive' ? 'reactive' : governor.rule,
    configuredRule: options.rule,
    skill: skill === undefined ? null : plainSkill(skill),
    brakes: brakes.reasons,
    ticks: engine.ticks,
    sessions: sessions.size,
    ignoredRows: sessions.ignoredRows,
    pendingMoves: engine.pending.moves.size,
    clientPrefixes: sessions.history.size,
    metrics: [...loads.all().values()].map((m) => m.report()),
    plan:
      lastPlan === undefined
        ? null
        : { planId: lastPlan.planId, disposition: lastPlan.disposition, moves: lastPlan.moves.length },
    insufficientCapacity: lastPlan?.insufficientCapacity ?? null,
    emptiable: emptiable === undefined ? null : endpoints.entries[emptiable]!.name,
    endpoints: endpoints.entries.slice(0, MAX_ENDPOINTS).map((entry) => endpointLine(engine, entry)),
  };
}

/** A session or an endpoint by its name; `undefined` when neither is known. */
export function explain(engine: AnalyticsEngine, name: string): object | undefined {
  const entry = engine.endpoints.get(name);
  if (entry !== undefined) return explainEndpoint(engine, entry);
  return explainOneSession(engine, name);
}

function endpointLine(engine: AnalyticsEngine, entry: EndpointEntry): object {
  const { live, endpoints, options, nowMs } = engine;
  const e = entry.index;
  const line = { name: entry.name, uncertain: endpoints.isUncertain(entry, nowMs), sessions: entry.total };
  if (live === undefined || e >= live.fleet.endpoints.count) return line;
  const { fleet, views } = live;
  const view = views[e]!;
  return {
    ...line,
    metric: view.metric,
    load: plain(live.presentLoad[e]!),
    p50: plain(fleet.endpoints.loadP50[e]!),
    p90: plain(fleet.endpoints.loadP90[e]!),
    limit: plain(view.limit),
    cores: coresOf(entry),
    overloadRisk:
      fleet.endpoints.loadUnknown[e] === 1 ? ('unknown' as const) : riskOf(fleet.endpoints.overloadRisk[e]!),
    /** Metrics without a figure, for which the widest band stands. */
    unknown: view.isUnknown ? ['cpu'] : [],
    failureRisk: riskOf(fleet.endpoints.failureRisk[e]!),
    pathRisk: riskOf(fleet.pathRisk[e]!),
    eventInS: plain(fleet.endpoints.eventInS[e]!),
    accepts: fleet.endpoints.accepts[e] === 1,
    score: endpointScore(fleet, e),
    leavesBelow: thresholdOf(fleet, options.objective, e),
    need: need(needOf(fleet, options.objective, e)),
    room: roomOf(fleet, options.objective, e),
  };
}

function explainEndpoint(engine: AnalyticsEngine, entry: EndpointEntry): object {
  const { path, notice, metrics, ownBytesPerSec } = entry;
  return {
    kind: 'endpoint',
    ...endpointLine(engine, entry),
    metrics,
    path: {
      rttMs: plain(path.rttMs),
      lossRatio: plain(path.lossRatio),
      bandwidthBps: plain(path.bandwidthBps),
    },
    notice: notice ?? null,
    ownBytesPerSec: plain(ownBytesPerSec),
    forecasts: engine.loads.forecast(entry),
  };
}

function explainOneSession(engine: AnalyticsEngine, id: string): object | undefined {
  const { sessions, live, endpoints, options, pending, lastPlan, nowMs } = engine;
  const entry = sessions.get(id);
  if (entry === undefined) return undefined;
  const s = entry.handle;
  const { table } = sessions;
  const { columns } = table;
  const from = columns.endpoint[s]!;
  const flags = columns.flags[s]!;
  const facts = {
    kind: 'session',
    session: id,
    endpoint: endpoints.entries[from]?.name ?? null,
    client: entry.prefix,
    listener: entry.listener,
    location: entry.location === '' ? null : entry.location,
    buddy: endpoints.entries[columns.buddy[s]!]?.name ?? null,
    requestsPerSec: table.requestsPerSec[s]!,
    bytesPerSec: table.bytesPerSec[s]!,
    load: plain(columns.load[s]!),
    expectedLifeS: plain(columns.lifeS[s]!),
    figuresAgeMs: plain(table.ageMs(s, nowMs)),
    pinned: (flags & SESSION_PINNED) !== 0,
    moving: (flags & SESSION_MOVING) !== 0,
    planned: lastPlan?.moves.find((m) => m.session === id) ?? null,
    pendingTarget: pending.moves.get(id)?.target ?? null,
  };
  if (live === undefined || s >= live.fleet.sessions.count || from < 0) return { ...facts, score: null };
  const { fleet } = live;
  const { objective } = options;
  const explained = explainSession(fleet, s);
  const targets = endpoints.entries
    .filter((e) => e.index !== from && e.index < fleet.endpoints.count)
    .map((e) => ({
      endpoint: e.name,
      score: scoreOn(fleet, s, e.index),
      allowed: isAllowed(fleet, s, e.index),
      room: roomOf(fleet, objective, e.index),
      gain: gainOf(fleet, objective, s, from, e.index),
      cost: costOf(fleet, objective, s, e.index),
      /** What would travel: to a buddy only the difference. */
      megabytes: megabytesOf(fleet, s, e.index),
      isBuddy: columns.buddy[s] === e.index,
      nearer: nearerBy(fleet, s, from, e.index),
    }))
    .sort((a, b) => b.gain - b.cost - (a.gain - a.cost))
    .slice(0, MAX_TARGETS);
  return {
    ...facts,
    ...explained,
    unknown: fleet.endpoints.loadUnknown[from] === 1 ? ['load', ...explained.unknown] : explained.unknown,
    movable: isMovable(fleet, objective, s),
    leavesByClass: isClassLeaving(fleet, objective, columns.scoreClass[s]!, from) ?? null,
    relieves: need(needOf(fleet, objective, from)),
    targets,
  };
}

function plain(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

function riskOf(value: number): number | 'unknown' {
  return Number.isFinite(value) ? value : 'unknown';
}

/** A need without bound means all of it. */
function need(value: number): number | 'all' {
  return value === Number.POSITIVE_INFINITY ? 'all' : value;
}
