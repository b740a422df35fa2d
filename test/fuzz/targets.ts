/** What is fuzzed, and what must hold of each: decoded and sound, or refused by its own error; never anything else. */
import { crc32 } from 'node:zlib';
import { checkConfig } from '@restitch/access-point/internal';
import {
  createFrameParser,
  encodeFrame,
  decodeImage,
  decodePlain,
  encodeImage,
  encodePlain,
  fromEndpointSchema,
  parseMessage,
  toEndpointSchema,
  toSourceSchema,
  toTargetSchema,
  toBuddySchema,
  toOwnerSchema,
} from '@restitch/wire/internal';
import { type ErrorCode, RestitchError } from '@restitch/core';
import { createBuddyStore } from '@restitch/guard/internal';
import { mutateBytes, mutateText, mutateValue } from './mutate.js';
import type { Random } from './random.js';
import {
  configSeeds,
  fromEndpointSeeds,
  imageSeed,
  toBuddySeeds,
  toEndpointSeeds,
  toOwnerSeeds,
  toSourceSeeds,
  toTargetSeeds,
} from './seeds.js';

/** What became of one input. */
type Outcome = 'taken' | 'refused';

/** One decoder under test. */
export interface FuzzTarget {
  readonly name: string;
  /** Share of all inputs; configurations are a thousand times slower than frames. */
  readonly share: number;
  /** Makes one input and decodes it. Throws when something does not hold. */
  readonly run: (random: Random) => Outcome;
}

/** The reason why an input is a finding. */
class Finding extends Error {}

function decoded(codes: readonly ErrorCode[], decode: () => void): Outcome {
  try {
    decode();
    return 'taken';
  } catch (error) {
    if (error instanceof RestitchError && codes.includes(error.code)) return 'refused';
    throw error;
  }
}

function assertHolds(holds: boolean, what: string): void {
  if (!holds) throw new Finding(what);
}

const messageSeeds = [...fromEndpointSeeds, ...toEndpointSeeds, ...toTargetSeeds, ...toSourceSeeds];
const frameSeeds = messageSeeds.map((message) => Buffer.concat([...encodeFrame(message)]));
const maxMessageBytes = 4096;

function runFrames(random: Random): Outcome {
  const stream = Buffer.concat([random.pick(frameSeeds), random.pick(frameSeeds), random.pick(frameSeeds)]);
  const bytes = mutateBytes(stream, random.pick(frameSeeds), random);
  const whole = parseFrames(bytes, [bytes.length]);
  const cuts = Array.from({ length: random.below(6) }, () => random.below(bytes.length + 1));
  const pieces = parseFrames(
    bytes,
    [...cuts, bytes.length].sort((a, b) => a - b),
  );
  assertHolds(whole.outcome === pieces.outcome, 'the verdict depends on how the bytes were cut');
  assertHolds(
    encodePlain(whole.messages).equals(encodePlain(pieces.messages)),
    'the messages depend on how the bytes were cut',
  );
  return whole.outcome;
}

function parseFrames(bytes: Buffer, ends: readonly number[]): { outcome: Outcome; messages: unknown[] } {
  const parser = createFrameParser(maxMessageBytes);
  const messages: unknown[] = [];
  const outcome = decoded(['message_invalid'], () => {
    let from = 0;
    for (const end of ends) {
      parser.push(bytes.subarray(from, end), (m) => messages.push(m));
      from = end;
      assertHolds(parser.partialBytes <= maxMessageBytes + 4, 'the parser keeps more than the bound');
    }
  });
  return { outcome, messages };
}

const encodedImage = encodeImage(imageSeed);
const imageCodes: readonly ErrorCode[] = ['image_invalid', 'version_unsupported'];

function runImage(random: Random): Outcome {
  const bytes = mutateBytes(encodedImage, random.pick(frameSeeds), random);
  const outcome = decoded(imageCodes, () => decodeImage(bytes, 1 << 20));
  assertHolds(outcome === 'refused' || bytes.equals(encodedImage), 'a changed image was taken');
  return outcome;
}

/** A hostile peer computes the checksum as well as anybody. */
function runSealedImage(random: Random): Outcome {
  const plain = encodedImage.subarray(12);
  const body = random.chance(0.5)
    ? mutateBytes(plain, random.pick(frameSeeds), random)
    : encodePlain(mutateValue(imageSeed, random));
  const seal = Buffer.from(encodedImage.subarray(0, 12));
  seal.writeUInt32BE(crc32(body, crc32(seal.subarray(0, 8))), 8);
  return decoded(imageCodes, () => {
    const image = decodeImage(Buffer.concat([seal, body]), 1 << 20);
    assertHolds(image.tcp.sentBytes <= image.tcp.sendQueue.length, 'more sent than queued');
    const again = encodeImage(image);
    assertHolds(
      canonical(decodeImage(again)) === canonical(image),
      'an image that was taken changes on its way',
    );
  });
}

/** The same text for the same value, whatever the order of its keys. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, v: unknown) => {
    if (v instanceof Uint8Array) return `bytes ${Buffer.from(v).toString('hex')}`;
    if (typeof v === 'bigint') return `${v}n`;
    if (typeof v !== 'object' || v === null || Array.isArray(v)) return v;
    return Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

type AnySchema = Parameters<typeof parseMessage>[0];

function messageTarget(name: string, share: number, schema: AnySchema, seeds: readonly object[]): FuzzTarget {
  const encoded = seeds.map((seed) => encodePlain(seed));
  return {
    name,
    share,
    run(random) {
      const bytes = random.chance(0.5)
        ? mutateBytes(random.pick(encoded), random.pick(encoded), random)
        : encodePlain(mutateValue(random.pick(seeds), random));
      return decoded(['message_invalid'], () => {
        const message = parseMessage(schema, decodePlain(bytes), 'fuzz');
        assertHolds(
          typeof message === 'object' && message !== null && 't' in message,
          'taken without a type',
        );
        parseMessage(schema, decodePlain(encodePlain(message)), 'fuzz');
      });
    },
  };
}

const buddyBytes = toBuddySeeds.map((seed) => encodePlain(seed));

/** Behind the schema, a buddy answers whatever it is told, and keeps no more than its bound. */
function runBuddy(random: Random): Outcome {
  const boundBytes = 1000;
  const store = createBuddyStore({ boundBytes });
  return decoded(['message_invalid'], () => {
    for (let n = 1 + random.below(4); n > 0; n--) {
      const bytes = random.chance(0.3)
        ? random.pick(buddyBytes)
        : encodePlain(mutateValue(random.pick(toBuddySeeds), random));
      const answers = store.receive('a', parseMessage(toBuddySchema, decodePlain(bytes), 'fuzz'));
      for (const answer of answers) parseMessage(toOwnerSchema, decodePlain(encodePlain(answer)), 'fuzz');
    }
    assertHolds(store.list('b').length === 0, 'a replica of somebody who said nothing');
  });
}

function runConfig(random: Random): Outcome {
  const text = mutateText(random.pick(configSeeds), random);
  const result = checkConfig(text);
  if (result.ok) return 'taken';
  const lines = text.split('\n').length;
  assertHolds(result.issues.length > 0, 'refused without an issue');
  for (const { line, column, problem, remedy } of result.issues) {
    assertHolds(
      line >= 1 && line <= lines + 1 && column >= 1,
      `an issue at ${line}:${column} of ${lines} lines`,
    );
    assertHolds(problem !== '' && remedy !== '', 'an issue without words');
  }
  return 'refused';
}

/** All targets; shares sum to 1. */
export const targets: readonly FuzzTarget[] = [
  { name: 'frame parser', share: 0.25, run: runFrames },
  { name: 'image decoder', share: 0.2, run: runImage },
  { name: 'image decoder, checksum right', share: 0.15, run: runSealedImage },
  messageTarget('messages from endpoint', 0.1, fromEndpointSchema, fromEndpointSeeds),
  messageTarget('messages to endpoint', 0.1, toEndpointSchema, toEndpointSeeds),
  messageTarget('messages to target', 0.06, toTargetSchema, toTargetSeeds),
  messageTarget('messages to source', 0.05, toSourceSchema, toSourceSeeds),
  { name: 'commits at a buddy', share: 0.03, run: runBuddy },
  messageTarget('messages to owner', 0.02, toOwnerSchema, toOwnerSeeds),
  { name: 'configuration', share: 0.04, run: runConfig },
];
