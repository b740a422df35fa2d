import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseMessage } from '../codec/parse-message.js';
import { toBuddySchema, toOwnerSchema } from './messages.js';
import { isOrdinaryCommit, isOrdinaryCommitted } from './ordinary-messages.js';

const commit = {
  t: 'commit',
  id: 'abc',
  epoch: 1,
  n: 2,
  inputStart: 0,
  input: new Uint8Array([1]),
  fin: false,
  outputStart: 0,
  output: new Uint8Array(),
  acked: 0,
  chain: 7,
};
const state = { as: 'patch', bytes: new Uint8Array([0xc0]), consumed: 1, outputAt: 0 };
const committed = { t: 'committed', sessions: [{ id: 'abc', epoch: 1, n: 2 }] };

/** What may stand in a field: right, nearly right, and wrong. */
const odd = fc.oneof(
  fc.constantFrom(
    undefined,
    null,
    true,
    '',
    'patch',
    'snapshot',
    -1,
    0,
    1.5,
    2 ** 32,
    2 ** 53,
    Number.NaN,
    'a b',
  ),
  fc.uint8Array({ maxLength: 3 }),
  fc.nat(),
  fc.string(),
  fc.constant([]),
  fc.constant({}),
);

/** A message with some fields replaced, left out or added, at the top or one level below. */
function spoilt(message: Record<string, unknown>, inner: string): fc.Arbitrary<Record<string, unknown>> {
  const nested = (message[inner] ?? {}) as Record<string, unknown>;
  const edit = (of: Record<string, unknown>) =>
    fc.array(fc.tuple(fc.constantFrom(...Object.keys(of), 'later'), fc.boolean(), odd), { maxLength: 2 });
  return fc.tuple(edit(message), edit(nested)).map(([outer, deep]) => {
    const apply = (of: Record<string, unknown>, edits: typeof outer): Record<string, unknown> => {
      const out = { ...of };
      for (const [key, isGone, value] of edits) {
        if (isGone) delete out[key];
        else out[key] = value;
      }
      return out;
    };
    const isNested = inner in message && !Array.isArray(message[inner]) && deep.length > 0;
    return apply(isNested ? { ...message, [inner]: apply(nested, deep) } : message, outer);
  });
}

describe('ordinary messages of replication', () => {
  it.each([[commit], [{ ...commit, state }], [{ ...commit, state, opening: new Uint8Array([1, 2]) }]])(
    'are accepted without their schema',
    (message) => {
      expect(isOrdinaryCommit(message)).toBe(true);
      expect(parseMessage(toBuddySchema, message, 'a')).toEqual(toBuddySchema.parse(message));
    },
  );

  it('acknowledgements, too', () => {
    expect(isOrdinaryCommitted(committed)).toBe(true);
    expect(parseMessage(toOwnerSchema, committed, 'b')).toEqual(toOwnerSchema.parse(committed));
  });

  it('a commit that is accepted by hand is one that the schema returns as it is', () => {
    fc.assert(
      fc.property(spoilt({ ...commit, opening: new Uint8Array(1), state }, 'state'), (message) => {
        if (isOrdinaryCommit(message)) expect(toBuddySchema.parse(message)).toStrictEqual(message);
      }),
      { numRuns: 2000 },
    );
  });

  it('an acknowledgement that is accepted by hand is one that the schema returns as it is', () => {
    const position = spoilt({ id: 'abc', epoch: 1, n: 2 }, 'none');
    const message = fc
      .tuple(fc.array(position, { maxLength: 3 }), spoilt(committed, 'none'))
      .map(([sessions, outer]) => ('sessions' in outer ? { ...outer, sessions } : outer));
    fc.assert(
      fc.property(message, (value) => {
        if (isOrdinaryCommitted(value)) expect(toOwnerSchema.parse(value)).toStrictEqual(value);
      }),
      { numRuns: 2000 },
    );
  });

  it('what does not fit is refused by the schema, with paths only', () => {
    expect(() => parseMessage(toBuddySchema, { ...commit, n: 0 }, 'a')).toThrow(/message from a refused: n/);
    expect(() => parseMessage(toOwnerSchema, { ...committed, sessions: [{ id: 'x y' }] }, 'b')).toThrow(
      /message from b refused/,
    );
  });
});
