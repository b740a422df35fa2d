/** Seeded fleets for tests and the benchmark: a few endpoints in trouble, sessions of very different sizes, paths and lives. */
import { createRandom } from '../seeded-random.js';
import { createEndpointColumns, createSessionColumns, type FleetSnapshot, SESSION_PINNED } from './fleet.js';

/** Sizes and shares. */
export interface RandomFleetOptions {
  readonly sessions: number;
  readonly endpoints: number;
  readonly seed: number;
  /** Share of endpoints near or above their limit; default 0.15. */
  readonly troubled?: number;
  readonly regions?: number;
}

/** Makes a fleet whose loads add up: an endpoint's P50 is the load of its sessions. */
export function createRandomFleet(options: RandomFleetOptions): FleetSnapshot {
  const random = createRandom(options.seed);
  const sessions = createSessionColumns(options.sessions);
  const endpoints = createEndpointColumns(options.endpoints);
  const regionCount = options.regions ?? 4;
  const perEndpoint = options.sessions / options.endpoints;
  for (let s = 0; s < options.sessions; s++) {
    const e = Math.floor(random() * options.endpoints);
    sessions.endpoint[s] = e;
    // Loads spread over two orders of magnitude, as request rates do.
    sessions.load[s] = (0.5 / perEndpoint) * Math.exp(1.2 * (random() + random() + random() - 1.5));
    sessions.imageBytes[s] = 20_000 * Math.exp(4 * random());
    sessions.lifeS[s] = 20 * Math.exp(4 * random());
    sessions.residenceS[s] = 600 * random();
    sessions.weight[s] = random() < 0.1 ? 3 : 1;
    sessions.clientRisk[s] = random() < 0.3 ? Number.NaN : 0.05 * random();
    sessions.flags[s] = random() < 0.05 ? SESSION_PINNED : 0;
    sessions.region[s] = Math.floor(random() * regionCount);
    sessions.buddy[s] = random() < 0.3 ? Math.floor(random() * options.endpoints) : -1;
    sessions.require[s] = random() < 0.1 ? 1 : 0;
    sessions.key[s] = Math.floor(random() * 4294967296);
    endpoints.loadP50[e] = endpoints.loadP50[e]! + sessions.load[s]!;
  }
  const troubled = options.troubled ?? 0.15;
  for (let e = 0; e < options.endpoints; e++) {
    const inTrouble = random() < troubled;
    const usage = inTrouble ? 0.95 + 0.3 * random() : 0.3 + 0.45 * random();
    endpoints.limit[e] = Math.max(endpoints.loadP50[e]!, 1e-6) / usage;
    endpoints.loadP90[e] = endpoints.loadP50[e]! * (1.05 + 0.1 * random());
    endpoints.overloadRisk[e] = inTrouble ? 0.3 + 0.65 * random() : 0.08 * random();
    endpoints.failureRisk[e] = random() < 0.5 ? Number.NaN : 0.02 * random();
    endpoints.eventInS[e] = random() < 0.02 ? 30 + 90 * random() : Number.POSITIVE_INFINITY;
    endpoints.domain[e] = Math.floor(random() * 5);
    endpoints.labels[e] = random() < 0.8 ? 1 : 0;
  }
  const pathRisk = Float32Array.from({ length: regionCount * options.endpoints }, () =>
    random() < 0.1 ? Number.NaN : 0.2 * random() * random(),
  );
  return { sessions, endpoints, regionCount, pathRisk };
}
