/** From what is known to the columns the planner reads: loads of sessions, risks, rooms, labels. */
import {
  believableLoad,
  createEndpointColumns,
  type EndpointColumns,
  type FleetSnapshot,
} from '../plan/fleet.js';
import type { EndpointBook, EndpointEntry } from './endpoint-book.js';
import type { EngineOptions } from './engine-options.js';
import { LabelBits } from './label-bits.js';
import { Places } from './places.js';
import { SessionClasses } from './session-classes.js';
import type { LoadForecasts, LoadView } from './load-forecasts.js';
import type { SessionBook } from './session-book.js';

/** Share of the load that goes by requests; the rest goes by bytes. */
const REQUEST_SHARE = 0.8;
/** How much what its neighbours do counts for a session, by the figures there are of it: as much as three of them, to 20. */
const youngDoubt = Float64Array.from({ length: 256 }, (_, figures) => (figures < 20 ? 3 / (3 + figures) : 0));
/** Rates below which an endpoint is not compared with the access point's own counts: too little to tell. */
const MIN_BYTES_PER_SEC = 10_000;

/** A certain event nearer than so many horizons: its endpoint is emptied whatever the doubt about targets. */
const PRESSING_HORIZONS = 4;

/** Of an endpoint of whose load nothing is known: neither safe nor a reason to leave. */
const UNKNOWN_RISK = 0.1;

/** A move that was given out and has not been answered. */
export interface PendingMove {
  readonly from: number;
  readonly to: number;
  readonly load: number;
  readonly sinceMs: number;
}

/** Everything the snapshot is made from. */
export interface LiveFleetDeps {
  readonly options: EngineOptions;
  readonly endpoints: EndpointBook;
  readonly sessions: SessionBook;
  readonly loads: LoadForecasts;
  readonly pending: ReadonlyMap<string, PendingMove>;
  /** NaN = unknown. */
  readonly failureRisk: (entry: EndpointEntry) => number;
}

/** A snapshot with what only this module knows. */
export interface LiveFleet {
  readonly fleet: FleetSnapshot;
  readonly presentLoad: Float64Array;
  /** Load of each session now; that of the fleet looks ahead. */
  readonly presentSessionLoad: Float32Array;
  readonly views: readonly LoadView[];
}

/** Makes snapshots; remembers labels and which endpoints are being relieved. */
export class LiveFleetBuilder {
  relieving: Uint8Array = new Uint8Array(0);
  /** Of the last plan, by class and endpoint; empty before one. */
  relievingClasses: Uint8Array = new Uint8Array(0);
  private relievingWidth = 0;
  private readonly labels = new LabelBits();
  private readonly places: Places;
  private readonly classes: SessionClasses;

  constructor(private readonly deps: LiveFleetDeps) {
    this.places = new Places(deps.options.locationLabel);
    this.classes = new SessionClasses(deps.options.classes, this.labels);
  }

  build(nowMs: number): LiveFleet {
    const { endpoints, sessions, loads } = this.deps;
    const count = endpoints.count;
    const views = endpoints.entries.map((entry) => loads.view(entry));
    const presentLoad = this.believed(views);
    const columns = createEndpointColumns(count);
    for (const entry of endpoints.entries)
      columns.rescue[entry.index] = this.isInDistress(entry, views[entry.index]!, presentLoad, nowMs) ? 1 : 0;
    const presentSessionLoad = this.shareLoads(presentLoad, views, columns.rescue);
    for (const entry of endpoints.entries)
      this.fillEndpoint(columns, entry, views[entry.index]!, presentLoad, nowMs);
    this.countPending(columns, presentLoad);
    this.boundBySessions(columns);
    this.boundByPaths(columns, presentLoad);
    columns.relieving.set(this.relieving.subarray(0, Math.min(count, this.relieving.length)));
    this.classes.fill(sessions);
    this.places.fill(sessions);
    const classes = this.classes.columns(this.relievingClasses, this.relievingWidth, count);
    this.relievingWidth = count;
    const nearness = this.places.nearness(endpoints.entries);
    const regionCount = this.places.count;
    // The path from the client is not measured, that from the access point is: it is the same for all places.
    const risks = endpoints.entries.map((entry) => endpoints.pathRisk(entry));
    const pathRisk = Float32Array.from({ length: regionCount * count }, (_, i) => risks[i % count]!);
    const table = sessions.table.columns;
    return {
      fleet: {
        sessions: { ...table, count: sessions.span },
        endpoints: columns,
        regionCount,
        pathRisk,
        ...(nearness === undefined ? {} : { nearness }),
        ...(classes === undefined ? {} : { classes }),
      },
      presentLoad,
      presentSessionLoad,
      views,
    };
  }

  /**
   * A session on an endpoint that is at its limit is disturbed if it stays, one on an endpoint that is about to end is lost, and at
   * worst it is disturbed where it goes: rooms at P90, with the doubt of every endpoint at once, would leave it there.
   */
  private isInDistress(
    entry: EndpointEntry,
    view: LoadView,
    presentLoad: Float64Array,
    nowMs: number,
  ): boolean {
    const { endpoints, options } = this.deps;
    const eventInS = endpoints.eventInS(entry, nowMs);
    if (eventInS <= PRESSING_HORIZONS * options.objective.horizonS) return entry.total > 0;
    if (endpoints.isUncertain(entry, nowMs)) return false;
    return (view.most + view.waiting) * beliefOf(view, presentLoad[entry.index]!) >= view.limit;
  }

  /** Reports against the access point's own counts, where there are counts to compare. */
  private believed(views: readonly LoadView[]): Float64Array {
    const { endpoints, options } = this.deps;
    let bytes = 0;
    let load = 0;
    for (const { index, ownBytesPerSec } of endpoints.entries) {
      const { now } = views[index]!;
      if (!(ownBytesPerSec >= 0) || !(now >= 0)) continue;
      bytes += ownBytesPerSec;
      load += now;
    }
    const perByte = bytes > MIN_BYTES_PER_SEC ? load / bytes : Number.NaN;
    return Float64Array.from(views, ({ now, limit }, e) => {
      const counted = endpoints.entries[e]!.ownBytesPerSec;
      if (!(counted >= 0) || Number.isNaN(perByte) || !Number.isFinite(now)) return now;
      // An idle process costs something without a byte: a twentieth of the limit is never doubted.
      return believableLoad(now, counted + (0.05 * limit) / perByte, perByte, options.believeFactor);
    });
  }

  /** The endpoint's load, shared among its sessions by their requests and bytes. */
  private shareLoads(
    presentLoad: Float64Array,
    views: readonly LoadView[],
    rescue: Uint8Array,
  ): Float32Array {
    const { endpoints, sessions } = this.deps;
    const { table } = sessions;
    const { endpoint, load } = table.columns;
    const requests = new Float64Array(endpoints.count);
    const bytes = new Float64Array(endpoints.count);
    const counts = new Float64Array(endpoints.count);
    const known = new Float64Array(endpoints.count);
    const presentSessionLoad = new Float32Array(load.length);
    const isKnown = (s: number): boolean => !Number.isNaN(table.ageMs(s, 0));
    for (let s = 0; s < sessions.span; s++) {
      const e = endpoint[s]!;
      if (e < 0) continue;
      requests[e] = requests[e]! + table.requestsPerSec[s]!;
      bytes[e] = bytes[e]! + table.bytesPerSec[s]!;
      counts[e] = counts[e]! + 1;
      if (isKnown(s)) known[e] = known[e]! + 1;
    }
    // A session of which little was told is at least as heavy as its neighbours let expect: at nought it would be moved in any number.
    const rateOf = (s: number, rates: Float32Array, sums: Float64Array, e: number): number => {
      if (known[e] === 0) return rates[s]!;
      const usual = sums[e]! / known[e]!;
      const own = isKnown(s) ? rates[s]! : 0;
      return own + youngDoubt[isKnown(s) ? table.figures[s]! : 0]! * Math.max(0, usual - own);
    };
    const whole = (sums: Float64Array, e: number): number =>
      known[e] === 0 ? sums[e]! : (sums[e]! * counts[e]!) / known[e]!;
    for (let s = 0; s < sessions.span; s++) {
      const e = endpoint[s]!;
      if (e < 0) continue;
      const byBytes =
        bytes[e]! > 0 ? rateOf(s, table.bytesPerSec, bytes, e) / whole(bytes, e) : 1 / counts[e]!;
      const byRequests = rateOf(s, table.requestsPerSec, requests, e) / whole(requests, e);
      const share = requests[e]! > 0 ? REQUEST_SHARE * byRequests + (1 - REQUEST_SHARE) * byBytes : byBytes;
      const present = presentLoad[e]!;
      presentSessionLoad[s] = Number.isFinite(present) ? share * present : 0;
      // As its endpoint's need is counted, so is what a session takes along.
      const ahead = rescue[e] === 1 ? views[e]!.expected : views[e]!.p90;
      load[s] = Number.isFinite(present) ? share * Math.max(present, ahead || 0) : 0;
    }
    return presentSessionLoad;
  }

  private fillEndpoint(
    columns: EndpointColumns,
    entry: EndpointEntry,
    view: LoadView,
    presentLoad: Float64Array,
    nowMs: number,
  ): void {
    const { endpoints, options, failureRisk } = this.deps;
    const e = entry.index;
    const present = presentLoad[e]!;
    // Disbelieved reports make disbelieved forecasts: both are scaled alike.
    const belief = beliefOf(view, present);
    const isUncertain = endpoints.isUncertain(entry, nowMs);
    columns.limit[e] = view.limit;
    columns.loadP50[e] = Math.max(0, view.p50 * belief);
    columns.loadP90[e] = Math.max(columns.loadP50[e]!, view.p90 * belief);
    columns.loadExpected[e] = Math.max(0, (view.expected + view.waiting) * belief);
    presentLoad[e] = present + view.waiting * belief;
    // What a wide band says of its limit; a metric that says worse is believed.
    const isUnknown = isUncertain || (view.isUnknown && !(view.risk > UNKNOWN_RISK));
    columns.loadUnknown[e] = isUnknown ? 1 : 0;
    columns.overloadRisk[e] = isUnknown
      ? UNKNOWN_RISK
      : belief < 0.99
        ? Math.min(view.risk, 0.05)
        : view.risk;
    columns.failureRisk[e] = failureRisk(entry);
    columns.eventInS[e] = endpoints.eventInS(entry, nowMs);
    columns.accepts[e] = entry.fleet.accepts && !isUncertain ? 1 : 0;
    columns.emptying[e] = entry.fleet.isEmptying === true ? 1 : 0;
    if (entry.fleet.joinedAtMs !== undefined) columns.ageS[e] = (nowMs - entry.fleet.joinedAtMs) / 1000;
    if (entry.fleet.enterScore !== undefined) columns.enterScore[e] = entry.fleet.enterScore;
    if (entry.fleet.leaveScore !== undefined) columns.leaveScore[e] = entry.fleet.leaveScore;
    const labels = entry.fleet.labels ?? {};
    columns.labels[e] = this.labels.mask(labels);
    // Without a domain label each endpoint is a domain of its own.
    const domain = labels[options.domainLabel];
    columns.domain[e] = domain === undefined ? -1 - e : this.labels.domain(domain);
  }

  /** Moves under way: their load is as good as gone from the source, and as good as there at the target. */
  private countPending(columns: EndpointColumns, presentLoad: Float64Array): void {
    for (const { from, to, load } of this.deps.pending.values()) {
      columns.reserved[to] = columns.reserved[to]! + load;
      columns.loadP50[from] = Math.max(0, columns.loadP50[from]! - load);
      columns.loadP90[from] = Math.max(0, columns.loadP90[from]! - load);
      columns.loadExpected[from] = Math.max(0, columns.loadExpected[from]! - load);
      presentLoad[from] = Math.max(0, presentLoad[from]! - load);
    }
  }

  /** A configured number of sessions is a limit as well: at it, an endpoint takes none. */
  private boundBySessions(columns: EndpointColumns): void {
    const { endpoints, sessions, pending } = this.deps;
    const counts = new Float64Array(endpoints.count);
    const { endpoint } = sessions.table.columns;
    for (let s = 0; s < sessions.span; s++) {
      const e = endpoint[s]!;
      if (e >= 0) counts[e] = counts[e]! + 1;
    }
    for (const { to } of pending.values()) counts[to] = counts[to]! + 1;
    for (const { index, fleet } of endpoints.entries)
      if (fleet.capacitySessions !== undefined && counts[index]! >= fleet.capacitySessions)
        columns.accepts[index] = 0;
  }

  /**
   * A path of configured capacity takes as much load as what is left of it carries, by the bytes that the fleet's load costs
   * on average. A learned capacity is only what the path has carried so far: it says nothing against carrying more.
   */
  private boundByPaths(columns: EndpointColumns, presentLoad: Float64Array): void {
    let bytes = 0;
    let load = 0;
    for (const { index, ownBytesPerSec } of this.deps.endpoints.entries) {
      if (!(ownBytesPerSec >= 0) || !(presentLoad[index]! >= 0)) continue;
      bytes += ownBytesPerSec;
      load += presentLoad[index]!;
    }
    if (!(bytes > MIN_BYTES_PER_SEC) || !(load > 0)) return;
    for (const { index, path } of this.deps.endpoints.entries)
      if (path.isBandwidthConfigured) columns.pathRoom[index] = (path.bandwidthBps / 8) * (load / bytes);
  }
}

/** Which share of its report an endpoint is believed. */
function beliefOf(view: LoadView, present: number): number {
  return Number.isFinite(present) && view.now > 0 ? present / view.now : 1;
}
