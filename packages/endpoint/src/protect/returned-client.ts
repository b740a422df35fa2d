/**
 * A client that lost its power and came back from the same port while the owner of its session stood still: the owner's
 * kernel was reset and shook hands anew, nobody could tell, and what the buddy restores is a connection that its client
 * does not know any more. Neither side would ever say a word that the other takes.
 *
 * Anybody can send a reset and a SYN in a client's name, so they only raise the question; the client answers it. A segment
 * of another connection reaches the socket and is not taken there.
 */
import type { Clock } from '@restitch/core';
import { attachWitness, type GuardPins } from '@restitch/guard/internal';
import { getTcpInfo, type TcpInfo, tcpState } from '@restitch/sys/internal';
import { probeClient } from '../tcp/index.js';
import { closeSilently, type ResetPlace } from './client-witness.js';

/** `other`: whoever has that address and port has another connection. `silent`: nothing came at all. */
export type ClientIdentity = 'same' | 'other' | 'silent';

const lookMs = 5;
/** What was held for the flow comes in one burst once the access point has its answer, and is older than the question. */
const quietMs = 100;
const longestQuietMs = 500;
/** A client answers one probe in 500 ms at most (tcp_invalid_ratelimit). */
const answerMs = 600;
/** One answer may be lost, or have been drawn by something else. */
const probes = 3;
/** Segments that were refused in this many rounds are of another connection. */
const refusals = 2;
/** tcpi_last_ack_recv is told in whole jiffies, of 10 ms at most. */
const jiffyMs = 10;

/** Asks whoever is at the other end of `fd`, a socket in service that nobody reads or writes meanwhile. */
export async function identifyClient(fd: number, clock: Clock): Promise<ClientIdentity> {
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => clock.after(ms, resolve));
  await becomeQuiet(fd, clock, sleep);
  let refused = 0;
  for (let i = 0; i < probes && refused < refusals; i++) {
    const beganMs = clock.monotonicMs();
    const heard = getTcpInfo(fd).segsIn;
    probeClient(fd);
    let info: TcpInfo;
    do {
      await sleep(lookMs);
      info = getTcpInfo(fd);
      // Only a segment that belongs here can end it or move it on.
      if (info.state === tcpState.close) return 'same';
      if (info.segsIn > heard && info.lastAckRecvMs <= clock.monotonicMs() - beganMs + jiffyMs) return 'same';
    } while (clock.monotonicMs() - beganMs < answerMs);
    if (info.segsIn > heard) refused++;
  }
  return refused === refusals ? 'other' : 'silent';
}

/**
 * Where the other connection stands, as its own segments tell: what a reset needs to be taken there. Nothing if none
 * comes; this host's kernel then answers a later one by a reset, as any that belongs to no connection. Closes `fd`.
 */
export async function locateOther(
  fd: number,
  pins: GuardPins,
  clock: Clock,
): Promise<Pick<ResetPlace, 'clientSeq' | 'serverSeq'> | undefined> {
  const witness = attachWitness(pins, fd, { clientSeq: 0, writeSeq: 0 });
  probeClient(fd);
  const beganMs = clock.monotonicMs();
  while (witness.read().seen === 0 && clock.monotonicMs() - beganMs < answerMs)
    await new Promise<void>((resolve) => clock.after(lookMs, resolve));
  const said = witness.read();
  witness.close();
  closeSilently(fd);
  return said.seen === 0 ? undefined : { clientSeq: said.clientSeq, serverSeq: said.ack };
}

async function becomeQuiet(fd: number, clock: Clock, sleep: (ms: number) => Promise<void>): Promise<void> {
  const beganMs = clock.monotonicMs();
  let heard = getTcpInfo(fd).segsIn;
  let changedMs = beganMs;
  for (let nowMs = beganMs; nowMs - changedMs < quietMs && nowMs - beganMs < longestQuietMs; ) {
    await sleep(lookMs);
    nowMs = clock.monotonicMs();
    const { segsIn } = getTcpInfo(fd);
    if (segsIn !== heard) changedMs = nowMs;
    heard = segsIn;
  }
}
