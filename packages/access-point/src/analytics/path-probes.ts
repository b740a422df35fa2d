/**
 * Paths to the endpoints: round trip and loss by ICMP echo to each endpoint's data address, and what bandwidth is left.
 *
 * The endpoint's kernel answers, so an overloaded process does not look like a bad path. Where ICMP is filtered nothing can
 * be said about loss; the round trip is then that of an empty question on the control connection.
 */
import type { EngineInput } from '@restitch/analytics';
import { toRestitchError } from '@restitch/core';
import type { Clock, Counters, Logger } from '@restitch/core';
import type { IcmpEcho } from '@restitch/sys/internal';
import type { Endpoint, EndpointRegistry } from '../model/endpoint-registry.js';
import type { OwnCountsReader } from './own-counts.js';
import type { AnalyticsSink } from './sink.js';

/** What the probes work with. */
export interface PathProbesDeps {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly endpoints: EndpointRegistry;
  readonly sink: AnalyticsSink;
  readonly ownCounts: OwnCountsReader;
  /** Between two probes of one path; 0: none. */
  readonly intervalMs: () => number;
  /** Bits a second as configured. */
  readonly bandwidthBps: (endpoint: string) => number | undefined;
  /** undefined: no path is probed. */
  readonly openEcho: (() => IcmpEcho) | undefined;
}

/** A path as it is shown. */
export interface PathView {
  readonly rttMs?: number;
  readonly lossRatio?: number;
  readonly bandwidthBps?: number;
  readonly bandwidthFrom?: 'configured' | 'learned';
  /** icmp: echo. control: ICMP is not answered there. */
  readonly by: 'icmp' | 'control';
}

/** A reply later than this is lost: a session would have felt it as a retransmission. */
const lostAfterMs = 1000;
/** Loss is the share of the last so many probes: ten seconds at the default interval. */
const lossWindow = 40;
/** Sent without any reply ever: ICMP is filtered there. */
const filteredAfter = 12;
/** Paths are told of this often, by the median of what came in meanwhile. */
const tellMs = 1000;
/** The wall clock stepped between request and reply: that pair says nothing. */
const maxStepUs = 500;
/** A learned capacity is the highest rate seen; half of it is forgotten in an hour. */
const learnedHalfLifeMs = 3_600_000;

interface Probe {
  readonly path: Path;
  readonly sentUs: number;
  readonly sentAtMs: number;
  readonly offsetUs: number;
}

/** One endpoint's path. */
class Path {
  readonly settled: boolean[] = [];
  rtts: number[] = [];
  controlRttMs: number | undefined;
  sent = 0;
  replies = 0;
  countedBytes = Number.NaN;
  countedAtMs = Number.NaN;
  usedBps: number | undefined;
  learnedBps: number | undefined;
  view: PathView = { by: 'icmp' };

  settle(isAnswered: boolean): void {
    this.settled.push(isAnswered);
    if (this.settled.length > lossWindow) this.settled.shift();
  }

  get isFiltered(): boolean {
    return this.replies === 0 && this.sent >= filteredAfter;
  }
}

/** Probes the paths of all connected endpoints. */
export class PathProbes {
  readonly #deps: PathProbesDeps;
  readonly #paths = new Map<Endpoint, { path: Path; address: string }>();
  readonly #open = new Map<number, Probe>();
  #echo: IcmpEcho | undefined;
  #isUnusable = false;
  #sequence = 0;
  #toldAtMs = Number.NEGATIVE_INFINITY;
  #cancel: (() => void) | undefined;

  constructor(deps: PathProbesDeps) {
    this.#deps = deps;
  }

  start(): void {
    const { clock, intervalMs } = this.#deps;
    const everyMs = this.#deps.openEcho === undefined ? 0 : intervalMs();
    this.#cancel = clock.after(everyMs > 0 ? everyMs : tellMs, () => {
      this.start();
      if (everyMs > 0) this.#round();
    });
  }

  close(): void {
    this.#cancel?.();
    this.#echo?.close();
    this.#echo = undefined;
  }

  /** What is known of an endpoint's path; undefined before the first word on it. */
  viewOf(endpoint: Endpoint): PathView | undefined {
    return this.#paths.get(endpoint)?.path.view;
  }

  /** Fetches replies, counts what is overdue as lost, sends the next probes. */
  #round(): void {
    const { clock, endpoints } = this.#deps;
    const nowMs = clock.monotonicMs();
    this.#fetch(nowMs);
    const isTelling = nowMs - this.#toldAtMs >= tellMs;
    if (isTelling) this.#toldAtMs = nowMs;
    for (const endpoint of endpoints.all()) {
      const address = endpoint.hello?.dataAddress;
      if (address === undefined || endpoint.link === undefined) {
        this.#paths.delete(endpoint);
        continue;
      }
      const path = this.#pathOf(endpoint, address);
      if (isTelling) this.#tell(endpoint, path, nowMs);
      this.#send(endpoint, path, address);
    }
  }

  #pathOf(endpoint: Endpoint, address: string): Path {
    const known = this.#paths.get(endpoint);
    if (known !== undefined && known.address === address) return known.path;
    const path = new Path();
    this.#paths.set(endpoint, { path, address });
    return path;
  }

  #send(endpoint: Endpoint, path: Path, address: string): void {
    const { clock, counters, logger, openEcho } = this.#deps;
    const sentAtMs = clock.monotonicMs();
    if (path.isFiltered || this.#isUnusable) this.#askControl(endpoint, path);
    if (this.#isUnusable) return;
    try {
      this.#echo ??= openEcho?.();
      this.#sequence = (this.#sequence + 1) & 0xffff;
      const sentUs = this.#echo?.send(address, this.#sequence);
      path.sent++;
      if (sentUs === undefined) path.settle(false);
      else {
        this.#open.set(this.#sequence, { path, sentUs, sentAtMs, offsetUs: sentUs - sentAtMs * 1000 });
      }
    } catch (error) {
      this.#isUnusable = true;
      counters.add('path_probes_unusable_total');
      logger.warn({ reason: toRestitchError(error).message }, 'no ICMP probes: loss of paths stays unknown');
    }
  }

  #fetch(nowMs: number): void {
    for (const { sequence, receivedUs } of this.#echo?.receive() ?? []) {
      const probe = this.#open.get(sequence);
      if (probe === undefined) continue;
      this.#open.delete(sequence);
      const rttMs = (receivedUs - probe.sentUs) / 1000;
      probe.path.replies++;
      // Two millisecond clocks, each cut off: an honest round trip is at most so much above the time that has passed.
      const isImpossible = rttMs < 0 || rttMs > nowMs - probe.sentAtMs + 2;
      if (isImpossible || this.#hasStepped(probe)) {
        this.#deps.counters.add('path_probes_clock_steps_total');
        probe.path.settle(true);
        continue;
      }
      probe.path.settle(rttMs <= lostAfterMs);
      if (rttMs <= lostAfterMs) probe.path.rtts.push(rttMs);
    }
    for (const [sequence, probe] of this.#open) {
      if (nowMs - probe.sentAtMs < lostAfterMs) break;
      this.#open.delete(sequence);
      probe.path.settle(false);
    }
  }

  /** Against the monotonic clock, as fine as both can be read by the millisecond clock of the daemon. */
  #hasStepped(probe: Probe): boolean {
    const { clock } = this.#deps;
    const offsetUs = clock.wallMs() * 1000 - clock.monotonicMs() * 1000;
    // wallMs has whole milliseconds.
    return Math.abs(offsetUs - probe.offsetUs) > maxStepUs + 1000;
  }

  #askControl(endpoint: Endpoint, path: Path): void {
    const { clock } = this.#deps;
    const askedAtMs = clock.monotonicMs();
    endpoint.link?.request({ t: 'query', flows: [] }, (data) => {
      if (data !== 'lost' && !(data instanceof Error)) path.controlRttMs = clock.monotonicMs() - askedAtMs;
    });
  }

  #tell(endpoint: Endpoint, path: Path, nowMs: number): void {
    const rttMs = median(path.rtts) ?? path.controlRttMs;
    const isControl = path.isFiltered || this.#isUnusable;
    const lost = path.settled.filter((isAnswered) => !isAnswered).length;
    const lossRatio = isControl || path.replies === 0 ? undefined : lost / path.settled.length;
    path.rtts = [];
    path.controlRttMs = undefined;
    path.view = {
      by: isControl ? 'control' : 'icmp',
      ...(rttMs === undefined ? {} : { rttMs }),
      ...(lossRatio === undefined ? {} : { lossRatio }),
      ...this.#bandwidth(endpoint, path, nowMs),
    };
    const { by: _, ...figures } = path.view;
    const input: EngineInput = { kind: 'path', atMs: nowMs, endpoint: endpoint.name, ...figures };
    if (Object.keys(figures).length > 0) this.#deps.sink.push(input);
  }

  /** Capacity less use. Use is what BPF forwarded there; the way back does not pass by. */
  #bandwidth(
    endpoint: Endpoint,
    path: Path,
    nowMs: number,
  ): Pick<PathView, 'bandwidthBps' | 'bandwidthFrom'> {
    const { bytes } = this.#deps.ownCounts.of(endpoint);
    const elapsedMs = nowMs - path.countedAtMs;
    const usedBps = ((bytes - path.countedBytes) * 8000) / elapsedMs;
    path.countedBytes = bytes;
    path.countedAtMs = nowMs;
    if (!(elapsedMs > 0) || !(usedBps >= 0)) return {};
    const kept = (path.learnedBps ?? 0) * 0.5 ** (elapsedMs / learnedHalfLifeMs);
    path.learnedBps = Math.max(usedBps, kept);
    const configured = this.#deps.bandwidthBps(endpoint.name);
    if (configured !== undefined) {
      return { bandwidthBps: Math.max(0, configured - usedBps), bandwidthFrom: 'configured' };
    }
    if (path.learnedBps === 0) return {};
    return { bandwidthBps: path.learnedBps - usedBps, bandwidthFrom: 'learned' };
  }
}

function median(values: number[]): number | undefined {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
