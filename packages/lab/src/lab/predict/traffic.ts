/**
 * The traffic of `lab predict`: who connects when, to which endpoint, and how fast each client asks. A function of pattern and
 * seed alone, so that every mode meets the same.
 *
 * Load is written as a share of one endpoint's quota. Clients have a home: the endpoint that takes new sessions of their service.
 */
import { requestCpuUs } from '../../load/apps/burn-app.js';
import type { ClientPace } from '../../load/clients/driver-messages.js';
import { createRandom } from '../../load/seeded-random.js';

/** ramp: slowly over the limit. wave: periodic, new clients each cycle. flash: a sudden step. notice: even load, then a notice. */
export const trafficPatterns = ['ramp', 'wave', 'flash', 'notice'] as const;
export type TrafficPattern = (typeof trafficPatterns)[number];

/** One client; instants in milliseconds from the beginning. */
export interface PlannedClient {
  readonly tag: string;
  readonly home: string;
  /** Uses the service whose sessions are worth most. */
  readonly isPrecious: boolean;
  readonly pace: ClientPace;
}

/** A whole run. */
export interface Traffic {
  readonly clients: readonly PlannedClient[];
  readonly lengthMs: number;
  /** What happens before does not count. */
  readonly scoredFromMs: number;
  /** The loaded endpoint's planned load: corners of (instant, share of its quota), as if nothing were moved. */
  readonly load: ReadonlyArray<readonly [number, number]>;
  /** Only of a notice: when it is given. */
  readonly noticeAtMs?: number;
  /** Simulated only: work that no session causes, in shares of the endpoint's quota. */
  readonly neighbours?: readonly NoisyNeighbour[];
}

/** Somebody else who works on an endpoint's quota for a while. */
export interface NoisyNeighbour {
  readonly endpoint: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly share: number;
}

/** How the traffic is made. */
export interface TrafficOptions {
  readonly pattern: TrafficPattern;
  readonly seed: number;
  /** Share of one CPU each endpoint has. */
  readonly cpuShare: number;
  readonly endpoints: readonly string[];
  /** Shorter or longer than the show, for tests; 1 is the whole. */
  readonly scale?: number;
}

/** The endpoint whose clients follow the pattern. */
export const loadedEndpoint = 'a';

/** How long before its end an endpoint is told of it. */
export const noticeMs = 15_000;

/** What a request costs an endpoint in all: the application's own work, and Node's sockets and streams (measured). */
const requestCostUs = requestCpuUs + 200;

const loadedClients = 24;
const otherClients = 8;
const otherLoad = 0.3;
const cycles = 4;
/** A model can know a period only after it has seen two of them. */
const unscoredCycles = 2;

/** Makes the clients of one run. */
export function createTraffic(options: TrafficOptions): Traffic {
  const random = createRandom(options.seed);
  const shape = shapes[options.pattern](random, options.scale ?? 1);
  // Some of each crowd are worth more only where the order is the question.
  const preciousRatio = options.pattern === 'notice' ? 1 / 3 : 0;
  const loaded = shape.cohorts.flatMap((cohort, k) =>
    spread(random, {
      ...options,
      ...cohort,
      preciousRatio,
      tag: `a${k}-`,
      home: loadedEndpoint,
      clients: loadedClients,
    }),
  );
  const others = options.endpoints
    .filter((name) => name !== loadedEndpoint)
    .flatMap((home) =>
      spread(random, {
        ...options,
        openAtMs: 0,
        load: [[0, otherLoad]],
        preciousRatio: 0,
        tag: `${home}-`,
        home,
        clients: otherClients,
      }),
    );
  const { lengthMs, scoredFromMs, load, noticeAtMs } = shape;
  const clients = [...loaded, ...others];
  return {
    clients,
    lengthMs,
    scoredFromMs,
    load,
    ...(noticeAtMs === undefined ? {} : { noticeAtMs }),
  };
}

interface Cohort {
  readonly openAtMs: number;
  readonly closeAtMs?: number;
  readonly load: ReadonlyArray<readonly [number, number]>;
}

interface Shape extends Omit<Traffic, 'clients'> {
  /** Clients that come and go together. */
  readonly cohorts: readonly Cohort[];
}

type Corners = ReadonlyArray<readonly [number, number]>;

const shapes: Readonly<Record<TrafficPattern, (random: () => number, scale: number) => Shape>> = {
  ramp(random, scale) {
    const startMs = scale * (12_000 + 4000 * random());
    const riseMs = scale * (27_000 + 6000 * random());
    const top = 1.3 + 0.2 * random();
    return one(
      [
        [0, 0.4],
        [startMs, 0.4],
        [startMs + riseMs, top],
      ],
      scale * 50_000,
      scale * 4000,
    );
  },
  wave(random, scale) {
    const cycleMs = scale * (17_000 + 2000 * random());
    const top = 1.2 + 0.2 * random();
    const low = 0.25;
    const load: Array<readonly [number, number]> = [];
    const stepMs = cycleMs / 24;
    for (let atMs = 0; atMs <= cycles * cycleMs; atMs += stepMs) {
      load.push([atMs, low + ((top - low) * (1 - Math.cos((2 * Math.PI * atMs) / cycleMs))) / 2]);
    }
    const cohorts = Array.from({ length: cycles }, (_, k) => ({
      openAtMs: k * cycleMs,
      closeAtMs: (k + 1) * cycleMs,
      load,
    }));
    const lengthMs = cycles * cycleMs;
    return { cohorts, load, lengthMs, scoredFromMs: unscoredCycles * cycleMs };
  },
  flash(random, scale) {
    const atMs = scale * (15_000 + 4000 * random());
    const top = 1.25 + 0.2 * random();
    return one(
      [
        [0, 0.45],
        [atMs, 0.45],
        [atMs + 1, top],
      ],
      scale * 35_000,
      scale * 4000,
    );
  },
  notice(random, scale) {
    const noticeAtMs = scale * (10_000 + 2000 * random());
    return { ...one([[0, 0.5]], noticeAtMs + noticeMs + 2000, noticeAtMs), noticeAtMs };
  },
};

function one(load: Corners, lengthMs: number, scoredFromMs: number): Shape {
  return { cohorts: [{ openAtMs: 0, load }], load, lengthMs, scoredFromMs };
}

interface Crowd extends Cohort, Pick<TrafficOptions, 'cpuShare'> {
  readonly tag: string;
  readonly home: string;
  readonly clients: number;
  readonly preciousRatio: number;
  /** Share of them that is ten times as heavy as the rest; none without it. */
  readonly heavyRatio?: number;
}

/** Shares a crowd's load among its clients, one up to three times as heavy as another. */
export function spread(random: () => number, crowd: Crowd): PlannedClient[] {
  const heavy = (crowd.heavyRatio ?? 0) * crowd.clients;
  const weights = Array.from({ length: crowd.clients }, (_, i) => (i < heavy ? 10 : 1) * (0.5 + random()));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const perSecAtFullLoad = (crowd.cpuShare * 1e6) / requestCostUs;
  // Clients of a cohort come and go over a second, not in one millisecond.
  const graceMs = 1000;
  return weights.map((weight, i) => ({
    tag: `${crowd.tag}${i}`,
    home: crowd.home,
    isPrecious: i < crowd.preciousRatio * crowd.clients,
    pace: {
      openAtMs: crowd.openAtMs + random() * graceMs,
      ...(crowd.closeAtMs === undefined ? {} : { closeAtMs: crowd.closeAtMs + random() * graceMs }),
      rate: crowd.load.map(([atMs, share]) => [atMs, (share * perSecAtFullLoad * weight) / sum] as const),
      seed: Math.floor(random() * 2 ** 31),
    },
  }));
}
