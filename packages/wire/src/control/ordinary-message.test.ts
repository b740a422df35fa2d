import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isOrdinaryToTarget, toTargetSchema } from '../transfer/messages.js';
import { fromEndpointSchema, toEndpointSchema } from './messages.js';
import { isOrdinaryFromEndpoint, isOrdinaryToEndpoint } from './ordinary-message.js';

const directions = [
  {
    schema: toEndpointSchema,
    check: isOrdinaryToEndpoint,
    samples: [
      { t: 'freeze', rq: 1, moveId: 'm1', epoch: 2, budgetMs: 50 },
      { t: 'activate', rq: 1, moveId: 'm1', epoch: 2 },
      { t: 'release', rq: 1, moveId: 'm1' },
    ],
  },
  {
    schema: fromEndpointSchema,
    check: isOrdinaryFromEndpoint,
    samples: [
      { t: 'reply', re: 7, ok: true, data: { freezeUs: 30, text: 'x', list: [1] } },
      { t: 'thawed', moveId: 'm1', thawUs: 0.5 },
      { t: 'confirmed', moveId: 'm1', serverRtos: 0 },
    ],
  },
  {
    schema: toTargetSchema,
    check: isOrdinaryToTarget,
    samples: [{ t: 'image', moveId: 'm1', epoch: 2, image: new Uint8Array([1, 2]) }],
  },
] as const;

const strange = fc.oneof(
  fc.integer(),
  fc.double(),
  fc.string(),
  fc.constantFrom<unknown>(null, undefined, NaN, Infinity, -1, 2 ** 24, 2 ** 32, 86_400_001, '', 'a b', 'ü'),
  fc.constantFrom<unknown>(
    new Uint8Array(2),
    [],
    [1],
    {},
    { a: 1 },
    new Date(0),
    'x'.repeat(65),
    true,
    false,
  ),
  fc.dictionary(fc.string({ maxLength: 70 }), fc.integer(), { minKeys: 0, maxKeys: 70 }),
);
const keys = [
  't',
  'rq',
  're',
  'ok',
  'data',
  'moveId',
  'epoch',
  'budgetMs',
  'thawUs',
  'serverRtos',
  'image',
  'extra',
];

describe('an ordinary message', () => {
  it.each(directions)('is taken without its schema', ({ check, samples }) => {
    for (const sample of samples) expect(check(sample)).toBe(true);
  });

  it.each(directions)('is one that its schema takes as it is', ({ schema, check, samples }) => {
    fc.assert(
      fc.property(
        fc.constantFrom(...samples),
        fc.constantFrom(...keys),
        strange,
        fc.boolean(),
        (sample, key, value, isLeftOut) => {
          const changed: Record<string, unknown> = { ...sample };
          if (isLeftOut) delete changed[key];
          else changed[key] = value;
          if (!check(changed)) return;
          expect(schema.parse(changed)).toEqual(changed);
        },
      ),
      { numRuns: 3000 },
    );
  });

  it('of another direction is not ordinary', () => {
    expect(isOrdinaryFromEndpoint(directions[0].samples[0])).toBe(false);
    expect(isOrdinaryToEndpoint(directions[1].samples[0])).toBe(false);
    expect(isOrdinaryToTarget(directions[1].samples[1])).toBe(false);
  });
});
