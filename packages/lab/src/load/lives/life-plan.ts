/** What a client will do in its next connection: drawn from its seed alone, so that a run can be repeated. */
import { createRandom } from '../seeded-random.js';
import type { LifeKind } from './life-kinds.js';

/** Who ends first, while the client has stopped reading. `open`: the server waits for the client's end. */
export const closings = ['server', 'client', 'both', 'open'] as const;
/** Who ends first. */
type Closing = (typeof closings)[number];

/** One connection's script. */
export interface LifePlan {
  /** Where in the pattern the streams begin: those of other clients are told from its own. */
  readonly base: number;
  /** What is still at the server when the client has stopped reading, about. */
  readonly tailBytes: number;
  /** SO_RCVBUF; left out where the tail is far larger than what the kernel takes by itself. */
  readonly receiveBufferBytes?: number;
  /** What the server sends in all. */
  readonly totalBytes: number;
  readonly closing: Closing;
  /** How long the client stands in its phase. */
  readonly stayMs: number;
  /** Before its next connection. */
  readonly restMs: number;
  /** A coin for variants of a kind. */
  readonly isOdd: boolean;
}

/** Tails are so large, each size of the scale as likely as another. */
export const tailRange = { least: 1024, most: 4 * 1024 * 1024 } as const;

/** Of an echo: both directions stand while the client does not read, and its FIN must get through all the same. */
const longestUploadBytes = 128 * 1024;
/** Tails up to here have a small receive buffer, so that they are at the server and not with the client. */
const smallTailBytes = 64 * 1024;
const smallBufferBytes = 4096;
/** What a client's kernel takes before it says stop: with the small buffer, and by itself. */
const takenBytes = { small: 8192, ordinary: 131_072 } as const;
const stayRangeMs = { least: 1500, most: 5000 } as const;
const longestRestMs = 300;

/** The script of connection number `turn` of the client `tag`. `seed` is the run's. */
export function planLife(kind: LifeKind, tag: string, turn: number, seed: number): LifePlan {
  const random = createRandom(hash(`${seed} ${tag} ${turn}`));
  const { least, most } = tailRange;
  const drawnBytes = Math.round(least * (most / least) ** random());
  const tailBytes = kind === 'half-closer' ? Math.min(longestUploadBytes, drawnBytes) : drawnBytes;
  const isSmall = tailBytes <= smallTailBytes || kind === 'half-closer';
  const stayMs = stayRangeMs.least + (stayRangeMs.most - stayRangeMs.least) * random();
  return {
    base: Math.floor(random() * 1_000_000),
    tailBytes,
    ...(isSmall ? { receiveBufferBytes: smallBufferBytes } : {}),
    totalBytes: tailBytes + (isSmall ? takenBytes.small : takenBytes.ordinary),
    closing: closings[Math.floor(random() * closings.length)] ?? 'server',
    stayMs,
    restMs: random() * longestRestMs,
    isOdd: random() < 0.5,
  };
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const byte of Buffer.from(text)) value = Math.imul(value ^ byte, 0x01000193) >>> 0;
  return value;
}
