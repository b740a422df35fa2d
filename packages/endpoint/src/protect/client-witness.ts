/**
 * Level periodic after a crash: the client is asked whether anything has passed since the checkpoint, and is served only
 * if it says no.
 *
 * It cannot be asked in so many words. A probe draws an acknowledgement that tells where both streams stand at the client.
 * What was held for it during the crash is older than the answer, so that is waited for first.
 */
import type { Clock, Flow } from '@restitch/core';
import type { TcpImage, TcpTemplate } from '@restitch/wire/internal';
import type { Testimony, Witness } from '@restitch/guard/internal';
import { closeFd } from '@restitch/sys';
import { getTcpInfo, setBufferOption, so, solSocket, tcpState } from '@restitch/sys/internal';
import { activateSocket, imageFromCheckpoint, probeClient, thawSocket } from '../tcp/index.js';
import { enterRepair } from '../tcp/repair.js';

/** `agreed`: nothing has passed. `gone`: the client itself has ended the connection. */
export type ClientVerdict = 'agreed' | 'contradicted' | 'silent' | 'gone';

const lookMs = 2;
/** Held packets come in one burst as soon as the access point has its answer. */
const quietMs = 20;
const longestQuietMs = 500;
/** A client answers one probe in 500 ms at most (tcp_invalid_ratelimit). */
const answerMs = 600;
/** Together within the 5 s after which no client may still hang. */
const probes = 5;
/** Behind the answer, whatever may have overtaken it. */
const settleMs = 10;

/** Asks the client at the other end of `fd`. `isProbed`: a probe has left already. */
export async function askClient(
  fd: number,
  witness: Witness,
  options: { readonly clock: Clock; readonly isProbed: boolean },
): Promise<ClientVerdict> {
  const { clock } = options;
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => clock.after(ms, resolve));
  let from: Testimony = witness.read();
  if (!options.isProbed) from = await drained(witness, clock, sleep);
  for (let i = 0; i < probes; i++) {
    if (isGone(fd)) return 'gone';
    if (i > 0 || !options.isProbed) probeClient(fd);
    const beganMs = clock.monotonicMs();
    while (clock.monotonicMs() - beganMs < answerMs) {
      if (witness.read().agreeing > from.agreeing) {
        await sleep(settleMs);
        return witness.read().contradicting > 0 ? 'contradicted' : 'agreed';
      }
      if (witness.read().contradicting > 0) return 'contradicted';
      await sleep(lookMs);
    }
  }
  return 'silent';
}

async function drained(
  witness: Witness,
  clock: Clock,
  sleep: (ms: number) => Promise<void>,
): Promise<Testimony> {
  const beganMs = clock.monotonicMs();
  let last = witness.read();
  let changedMs = beganMs;
  for (;;) {
    const nowMs = clock.monotonicMs();
    if (last.contradicting > 0 || nowMs - changedMs >= quietMs || nowMs - beganMs > longestQuietMs)
      return last;
    await sleep(lookMs);
    const next = witness.read();
    if (next.seen !== last.seen) changedMs = clock.monotonicMs();
    last = next;
  }
}

function isGone(fd: number): boolean {
  return getTcpInfo(fd).state === tcpState.close;
}

/** Closes without a packet. */
export function closeSilently(fd: number): void {
  enterRepair(fd);
  closeFd(fd);
}

/** What a reset needs to be believed. */
export interface ResetPlace {
  readonly flow: Flow;
  readonly template: TcpTemplate;
  /** The client's next byte, and the one it expects of us: a reset at another place is not taken (RFC 5961 §3). */
  readonly clientSeq: number;
  readonly serverSeq: number;
}

/** Ends a connection for which there is no socket here by a reset that its client takes. Throws `thaw_failed`. */
export function resetClient(place: ResetPlace, nowMs: number): void {
  const { flow, template, clientSeq, serverSeq } = place;
  const at = {
    inputEnd: (clientSeq - template.clientStart) >>> 0,
    finReceived: false,
    outputStart: (serverSeq - template.serverStart) >>> 0,
    output: new Uint8Array(),
  };
  const image: TcpImage = imageFromCheckpoint(template, at, nowMs);
  const { fd } = activateSocket(thawSocket(image, flow), { isProbing: false });
  const linger = Buffer.alloc(8);
  linger.writeUInt32LE(1, 0);
  setBufferOption(fd, solSocket, so.linger, linger);
  closeFd(fd);
}
