/** What is known of each endpoint: its figures, its path, its notices, and what the access point says of it. */
import type { EndpointMetrics } from '@restitch/wire/internal';
import type { EngineInput, FleetEndpoint, NoticeKind, OwnCounts } from './engine-input.js';

/** Probes remembered: about a minute at one a second. */
const PATH_MEMORY = 60;
/** A period's figure is used for so many periods, then it is missing. */
const HOLD_PERIODS = 2.5;

/** Share of probes over a limit, decayed. */
interface PathState {
  rttMs: number;
  lossRatio: number;
  bandwidthBps: number;
  /** Whether it is known what the path can carry, or only what it has carried. */
  isBandwidthConfigured: boolean;
  over: number;
  probes: number;
}

/** One endpoint. */
export interface EndpointEntry {
  readonly index: number;
  readonly name: string;
  fleet: FleetEndpoint;
  metrics: EndpointMetrics;
  /** Time of the newest figures; NaN before any. */
  metricsAtMs: number;
  /** Figures since the last tick, for their mean. */
  fresh: EndpointMetrics[];
  /** Sessions it says it has. */
  total: number;
  /** Requests told of since the last tick, and over how many seconds; 0 before two messages. */
  readonly asked: { requests: number; seconds: number; atMs: number };
  notice: { readonly what: NoticeKind; readonly deadlineAtMs: number } | undefined;
  readonly path: PathState;
  ownCounts: OwnCounts | undefined;
  ownCountsAtMs: number;
  /** Bytes a second by the access point's own count; NaN before two counts. */
  ownBytesPerSec: number;
}

/** Endpoints by name; an index is never given to another name. */
export class EndpointBook {
  readonly entries: EndpointEntry[] = [];
  private readonly byName = new Map<string, EndpointEntry>();

  constructor(
    private readonly pathLimits: { readonly rttMs: number; readonly lossRatio: number },
    private readonly periodMs: number,
  ) {}

  get count(): number {
    return this.entries.length;
  }

  get(name: string): EndpointEntry | undefined {
    return this.byName.get(name);
  }

  /** The endpoint of that name; made if there is none. One nobody listed takes no sessions. */
  ensure(name: string): EndpointEntry {
    const known = this.byName.get(name);
    if (known !== undefined) return known;
    const entry: EndpointEntry = {
      index: this.entries.length,
      name,
      fleet: { name, accepts: false },
      metrics: {},
      metricsAtMs: Number.NaN,
      fresh: [],
      total: 0,
      asked: { requests: 0, seconds: 0, atMs: Number.NaN },
      notice: undefined,
      path: {
        rttMs: Number.NaN,
        lossRatio: Number.NaN,
        bandwidthBps: Number.NaN,
        isBandwidthConfigured: false,
        over: 0,
        probes: 0,
      },
      ownCounts: undefined,
      ownCountsAtMs: Number.NaN,
      ownBytesPerSec: Number.NaN,
    };
    this.entries.push(entry);
    this.byName.set(name, entry);
    return entry;
  }

  /** The fleet as configured and seen; who is not in it takes no sessions any more. */
  setFleet(endpoints: readonly FleetEndpoint[]): void {
    const named = new Map(endpoints.map((e) => [e.name, e]));
    for (const name of [...named.keys()].sort()) this.ensure(name);
    for (const entry of this.entries)
      entry.fleet = named.get(entry.name) ?? { name: entry.name, accepts: false };
  }

  /** Figures of a period; true if they count. Older than the newest known: too late. None at all: it has fallen silent. */
  figures(input: Extract<EngineInput, { kind: 'endpoint' }>): boolean {
    const entry = this.ensure(input.endpoint);
    if (input.atMs < entry.metricsAtMs) return false;
    if (Object.keys(input.metrics).length === 0) {
      if (!Number.isNaN(entry.metricsAtMs)) entry.metricsAtMs = Number.NEGATIVE_INFINITY;
      return false;
    }
    entry.metrics = input.metrics;
    entry.metricsAtMs = input.atMs;
    entry.fresh.push(input.metrics);
    return true;
  }

  /** Number of sessions, and the access point's own counts. */
  demand(input: Extract<EngineInput, { kind: 'sessions' }>): void {
    const entry = this.ensure(input.endpoint);
    if (input.total >= 0) entry.total = input.total;
    noteRequests(entry, input);
    const { ownCounts } = input;
    if (ownCounts === undefined || !(ownCounts.bytes >= 0)) return;
    const before = entry.ownCounts;
    const elapsedS = (input.atMs - entry.ownCountsAtMs) / 1000;
    if (before !== undefined && elapsedS > 0 && ownCounts.bytes >= before.bytes) {
      const perSec = (ownCounts.bytes - before.bytes) / elapsedS;
      const old = entry.ownBytesPerSec;
      entry.ownBytesPerSec = Number.isNaN(old) ? perSec : old + 0.2 * (perSec - old);
    }
    if (before === undefined || elapsedS > 0) {
      entry.ownCounts = ownCounts;
      entry.ownCountsAtMs = input.atMs;
    }
  }

  /** A probe of the path. Impossible figures are left out. */
  probe(input: Extract<EngineInput, { kind: 'path' }>): void {
    const { path } = this.ensure(input.endpoint);
    const { rttMs, lossRatio, bandwidthBps } = input;
    if (bandwidthBps !== undefined && bandwidthBps >= 0) {
      path.bandwidthBps = bandwidthBps;
      path.isBandwidthConfigured = input.bandwidthFrom === 'configured';
    }
    const knowsRtt = rttMs !== undefined && rttMs >= 0;
    const knowsLoss = lossRatio !== undefined && lossRatio >= 0;
    if (!knowsRtt && !knowsLoss) return;
    if (knowsRtt) path.rttMs = rttMs;
    if (knowsLoss) path.lossRatio = lossRatio;
    const isOver =
      (knowsRtt && rttMs > this.pathLimits.rttMs) || (knowsLoss && lossRatio > this.pathLimits.lossRatio);
    const keep = 1 - 1 / PATH_MEMORY;
    path.over = path.over * keep + (isOver ? 1 : 0);
    path.probes = path.probes * keep + 1;
  }

  /**
   * Probability that the path is over a limit: the share of recent probes that were, with half a bad probe assumed beforehand.
   * NaN before any probe.
   */
  pathRisk(entry: EndpointEntry): number {
    const { over, probes } = entry.path;
    return probes === 0 ? Number.NaN : (over + 0.05) / (probes + 0.5);
  }

  /** True while its figures are too old to plan with: it is uncertain, not idle. */
  isUncertain(entry: EndpointEntry, nowMs: number): boolean {
    return !(nowMs - entry.metricsAtMs <= HOLD_PERIODS * this.periodMs);
  }

  /** Takes the mean of each figure since the last call; held figures for a period without a message, nothing for older ones. */
  takeFigures(entry: EndpointEntry, nowMs: number): EndpointMetrics {
    const { fresh } = entry;
    entry.fresh = [];
    if (fresh.length === 1) return fresh[0]!;
    if (fresh.length === 0) return this.isUncertain(entry, nowMs) ? {} : entry.metrics;
    const means: Record<string, number> = {};
    for (const name of new Set(fresh.flatMap((f) => Object.keys(f)))) {
      const known = fresh.flatMap((f) => f[name as keyof EndpointMetrics] ?? []);
      if (known.length > 0) means[name] = known.reduce((a, b) => a + b, 0) / known.length;
    }
    return means;
  }

  /** Requests a second since the last call, of all sessions; undefined where no message told. */
  takeRequests({ asked }: EndpointEntry): number | undefined {
    const { requests, seconds } = asked;
    asked.requests = 0;
    asked.seconds = 0;
    return seconds > 0 ? requests / seconds : undefined;
  }

  /** Seconds until a certain event ends it; Infinity when none is known. One that has passed is 0. */
  eventInS(entry: EndpointEntry, nowMs: number): number {
    const { notice } = entry;
    if (notice === undefined || notice.what === 'none') return Number.POSITIVE_INFINITY;
    return Math.max(0, notice.deadlineAtMs - nowMs) / 1000;
  }
}

/** Rows are differences, so their sum is what was asked for, whichever sessions a message had room for. */
function noteRequests({ asked }: EndpointEntry, input: Extract<EngineInput, { kind: 'sessions' }>): void {
  const elapsedS = (input.atMs - asked.atMs) / 1000;
  if (elapsedS <= 0) return;
  asked.atMs = input.atMs;
  if (Number.isNaN(elapsedS)) return;
  asked.seconds += elapsedS;
  for (const { requests } of input.sessions) if (requests >= 0) asked.requests += requests;
}
