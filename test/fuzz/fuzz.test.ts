/**
 * Mutated inputs for every decoder that reads what others wrote: 20,000 here, a million and more by scripts/fuzz.sh.
 * A finding prints the seed of its input: RESTITCH_FUZZ_SEED=<seed> RESTITCH_FUZZ_RUNS=1 runs it alone.
 */
import {
  fromEndpointSchema,
  parseMessage,
  toEndpointSchema,
  toSourceSchema,
  toTargetSchema,
  toBuddySchema,
  toOwnerSchema,
} from '@restitch/wire/internal';
import { describe, expect, it } from 'vitest';
import { createRandom } from './random.js';
import {
  fromEndpointSeeds,
  toBuddySeeds,
  toEndpointSeeds,
  toOwnerSeeds,
  toSourceSeeds,
  toTargetSeeds,
} from './seeds.js';
import { targets } from './targets.js';

const runs = Number(process.env['RESTITCH_FUZZ_RUNS'] ?? 20_000);
const firstSeed = Number(process.env['RESTITCH_FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const builtins = [Object.prototype, Array.prototype, Function.prototype].map(
  (p) => Reflect.ownKeys(p).length,
);

describe('any input is taken or refused by its own error', () => {
  it.each(targets)('$name', { timeout: 7_200_000 }, ({ name, share, run }) => {
    const count = Math.max(1, Math.round(runs * share));
    const outcomes = { taken: 0, refused: 0 };
    let slowestMs = 0;
    for (let i = 0; i < count; i++) {
      const seed = (firstSeed + i) >>> 0;
      const beganNs = process.hrtime.bigint();
      try {
        outcomes[run(createRandom(seed))]++;
      } catch (error) {
        throw new Error(`${name}: seed ${seed}: ${String(error)}`, { cause: error });
      }
      slowestMs = Math.max(slowestMs, Number(process.hrtime.bigint() - beganNs) / 1e6);
    }
    const line = {
      target: name,
      inputs: count,
      ...outcomes,
      slowestMs: Math.round(slowestMs * 10) / 10,
      firstSeed,
    };
    process.stdout.write(`fuzz ${JSON.stringify(line)}\n`);
    // Mutations that are all refused at the first byte would test nothing behind it.
    if (count >= 500) expect(outcomes.refused).toBeGreaterThan(0);
    const now = [Object.prototype, Array.prototype, Function.prototype].map((p) => Reflect.ownKeys(p).length);
    expect(now).toEqual(builtins);
  });

  it('starts from a valid sample of every message', () => {
    const kinds = [
      [fromEndpointSchema, fromEndpointSeeds],
      [toEndpointSchema, toEndpointSeeds],
      [toTargetSchema, toTargetSeeds],
      [toSourceSchema, toSourceSeeds],
      [toBuddySchema, toBuddySeeds],
      [toOwnerSchema, toOwnerSeeds],
    ] as const;
    for (const [schema, seeds] of kinds) {
      for (const seed of seeds) parseMessage(schema as never, seed, 'seed');
      expect(seeds.map((s) => s.t).sort()).toEqual(schema.options.map((o) => o.shape.t.value).sort());
    }
  });

  it('are shares that make a whole', () => {
    expect(targets.reduce((sum, t) => sum + t.share, 0)).toBeCloseTo(1);
  });
});
