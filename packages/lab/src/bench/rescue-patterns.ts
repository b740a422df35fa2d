/**
 * Traffic of `bench rescue`: ways in which one endpoint comes to its limit while two others have room. Longer than the
 * laboratory's, because the engine runs with the defaults it is shipped with; a function of pattern and seed alone.
 */
import { createRandom } from '../load/seeded-random.js';
import { simulatedFleet } from '../lab/predict/simulation.js';
import { createTraffic, loadedEndpoint, spread } from '../lab/predict/traffic.js';
import type { NoisyNeighbour, PlannedClient, Traffic } from '../lab/predict/traffic.js';

/**
 * ramp, flash: the laboratory's. steep: over the limit in three seconds. plateau: a rise that stays below it. few-heavy: a ramp, an
 * eighth of the sessions ten times as heavy. spikes: above it for a second at a time. noisy: somebody else works on the quota.
 * wave, daily, square: periodic, new clients each cycle; slow, slower, and by steps.
 */
export const rescuePatterns = [
  'ramp',
  'steep',
  'flash',
  'plateau',
  'few-heavy',
  'spikes',
  'noisy',
  'wave',
  'daily',
  'square',
] as const;
export type RescuePattern = (typeof rescuePatterns)[number];

type Corners = ReadonlyArray<readonly [number, number]>;
type Random = () => number;

const otherLoad = 0.3;
const cycles = 4;
const settledMs = 4000;

/** Makes the traffic of one run. */
export function createRescueTraffic(pattern: RescuePattern, seed: number): Traffic {
  if (pattern === 'ramp' || pattern === 'flash') return createTraffic({ pattern, seed, ...simulatedFleet });
  return shapes[pattern](createRandom(seed));
}

const shapes: Readonly<Record<Exclude<RescuePattern, 'ramp' | 'flash'>, (random: Random) => Traffic>> = {
  steep(random) {
    const load = rise(0.4, 15_000, 3000, 1.3 + 0.2 * random());
    return lasting(random, load, 35_000);
  },
  plateau(random) {
    const load = rise(0.4, 12_000, 18_000, 0.8 + 0.05 * random());
    return lasting(random, load, 60_000);
  },
  'few-heavy'(random) {
    const load = rise(0.4, 12_000 + 4000 * random(), 27_000 + 6000 * random(), 1.3 + 0.2 * random());
    return lasting(random, load, 50_000, { heavyRatio: 1 / 8 });
  },
  spikes(random) {
    const lengthMs = 60_000;
    const load: Array<readonly [number, number]> = [[0, 0.5]];
    for (let atMs = 5000; atMs < lengthMs - 5000; atMs += 6000 + 4000 * random()) {
      const topMs = 500 * (1 + random());
      const top = 0.95 + 0.25 * random();
      load.push([atMs, 0.5], [atMs + topMs / 4, top], [atMs + topMs, top], [atMs + 1.25 * topMs, 0.5]);
    }
    return lasting(random, load, lengthMs);
  },
  noisy(random) {
    const lengthMs = 60_000;
    const neighbours: NoisyNeighbour[] = [];
    for (let fromMs = 12_000; fromMs < lengthMs - 5000; ) {
      const toMs = fromMs + 3000 + 4000 * random();
      neighbours.push({ endpoint: loadedEndpoint, fromMs, toMs, share: 0.35 + 0.2 * random() });
      fromMs = toMs + 5000 + 5000 * random();
    }
    return { ...lasting(random, [[0, 0.6]], lengthMs), neighbours };
  },
  wave(random) {
    const cycleMs = 90_000 * (0.97 + 0.06 * random());
    return returning(random, cycleMs, sine(cycleMs, 1.2 + 0.2 * random()));
  },
  daily(random) {
    const cycleMs = 120_000;
    return returning(random, cycleMs, sine(cycleMs, 1.2 + 0.2 * random()));
  },
  square(random) {
    const cycleMs = 120_000 * (0.97 + 0.06 * random());
    const top = 1.2 + 0.2 * random();
    return returning(random, cycleMs, (k) => {
      const beginMs = k * cycleMs;
      const stepMs = beginMs + cycleMs / 2;
      const endMs = beginMs + cycleMs;
      return [
        [beginMs, 0.35],
        [stepMs, 0.35],
        [stepMs + 2000, top],
        [endMs - 4000, top],
        [endMs - 1000, 0.35],
      ];
    });
  },
};

function rise(from: number, atMs: number, overMs: number, to: number): Corners {
  return [
    [0, from],
    [atMs, from],
    [atMs + overMs, to],
  ];
}

function sine(cycleMs: number, top: number): () => Corners {
  const low = 0.25;
  const stepMs = cycleMs / 24;
  const load: Array<readonly [number, number]> = [];
  for (let atMs = 0; atMs <= cycles * cycleMs; atMs += stepMs)
    load.push([atMs, low + ((top - low) * (1 - Math.cos((2 * Math.PI * atMs) / cycleMs))) / 2]);
  return () => load;
}

/** Clients that stay to the end. */
function lasting(
  random: Random,
  load: Corners,
  lengthMs: number,
  crowd: { readonly heavyRatio?: number } = {},
): Traffic {
  const loaded = spread(random, {
    ...simulatedFleet,
    ...loadedCrowd,
    ...crowd,
    openAtMs: 0,
    load,
    tag: 'a-',
  });
  return { clients: [...loaded, ...others(random)], load, lengthMs, scoredFromMs: settledMs };
}

/** Clients that come anew with each cycle, and are replaced when they have lived for one. */
function returning(random: Random, cycleMs: number, loadOf: (cycle: number) => Corners): Traffic {
  const loaded = Array.from({ length: cycles }, (_, k) =>
    spread(random, {
      ...simulatedFleet,
      ...loadedCrowd,
      openAtMs: k * cycleMs,
      closeAtMs: (k + 1) * cycleMs,
      load: loadOf(k),
      tag: `a${k}-`,
    }),
  ).flat();
  const clients = [...loaded, ...others(random)];
  return { clients, load: loadOf(0), lengthMs: cycles * cycleMs, scoredFromMs: settledMs };
}

const loadedCrowd = { home: loadedEndpoint, clients: 24, preciousRatio: 0 } as const;

function others(random: Random): PlannedClient[] {
  return simulatedFleet.endpoints
    .filter((name) => name !== loadedEndpoint)
    .flatMap((home) =>
      spread(random, {
        ...simulatedFleet,
        home,
        clients: 8,
        preciousRatio: 0,
        openAtMs: 0,
        load: [[0, otherLoad]],
        tag: `${home}-`,
      }),
    );
}
