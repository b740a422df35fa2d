/**
 * The link between the client and the bridge, with delay and loss: a process that carries each frame from one TAP device
 * to another. The kernels at hand have no netem.
 *
 * It blocks its thread in poll and needs no event loop: a timer of libuv is a millisecond late, this one some 50 µs.
 */
import { createReadWaiter, openWireTap, inNetworkNamespace } from '@restitch/sys';
import type { WireTap } from '@restitch/sys';
import { createRandom } from '../load/seeded-random.js';

/** What the link is like, as the process's only argument in JSON. */
export interface LinkOptions {
  readonly clientNamespace: string;
  readonly clientInterface: string;
  readonly fabricNamespace: string;
  readonly bridgePort: string;
  /** One way, client to bridge and bridge to client. */
  readonly upMs: number;
  readonly downMs: number;
  /** Of frames, each way. */
  readonly lossRatio: number;
  readonly seed: number;
}

interface Direction {
  readonly from: WireTap;
  readonly to: WireTap;
  readonly delayNs: number;
  readonly frames: Array<{ readonly dueNs: number; readonly bytes: Buffer }>;
  first: number;
}

/** Frames that wait at most in each direction: 40 ms at 1 Gbit/s and then some. */
const maxQueuedFrames = 8192;
const maxFrameBytes = 2048;
/** Frames taken in a row before due ones are sent. */
const burstFrames = 64;

function main(options: LinkOptions): void {
  const client = inNetworkNamespace(`/run/netns/${options.clientNamespace}`, () =>
    openWireTap(options.clientInterface),
  );
  const fabric = inNetworkNamespace(`/run/netns/${options.fabricNamespace}`, () =>
    openWireTap(options.bridgePort),
  );
  const directions: Direction[] = [
    { from: client, to: fabric, delayNs: options.upMs * 1e6, frames: [], first: 0 },
    { from: fabric, to: client, delayNs: options.downMs * 1e6, frames: [], first: 0 },
  ];
  process.send?.({ t: 'ready' }, undefined, undefined, () => {
    process.disconnect();
    carry(directions, options);
  });
}

function carry(directions: readonly Direction[], options: LinkOptions): never {
  const random = createRandom(options.seed);
  const wait = createReadWaiter(directions.map((d) => d.from.fd));
  const memory = Buffer.alloc(maxFrameBytes);
  for (;;) {
    wait(nextDueNs(directions) - nowNs());
    for (const direction of directions) {
      takeFrames(direction, memory, () => random() < options.lossRatio);
      sendDue(direction);
    }
  }
}

function takeFrames(direction: Direction, memory: Buffer, isLost: () => boolean): void {
  for (let i = 0; i < burstFrames; i++) {
    const bytes = direction.from.read(memory);
    if (bytes === 0) return;
    if (isLost() || direction.frames.length - direction.first >= maxQueuedFrames) continue;
    direction.frames.push({
      dueNs: nowNs() + direction.delayNs,
      bytes: Buffer.from(memory.subarray(0, bytes)),
    });
  }
}

function sendDue(direction: Direction): void {
  const now = nowNs();
  for (;;) {
    const frame = direction.frames[direction.first];
    if (frame === undefined || frame.dueNs > now) break;
    direction.to.write(frame.bytes);
    direction.first++;
  }
  if (direction.first > 1024) {
    direction.frames.splice(0, direction.first);
    direction.first = 0;
  }
}

function nextDueNs(directions: readonly Direction[]): number {
  const longestNs = 100e6;
  let dueNs = nowNs() + longestNs;
  for (const { frames, first } of directions) dueNs = Math.min(dueNs, frames[first]?.dueNs ?? dueNs);
  return dueNs;
}

function nowNs(): number {
  return performance.now() * 1e6;
}

main(JSON.parse(process.argv[2] ?? '{}') as LinkOptions);
