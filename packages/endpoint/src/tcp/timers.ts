/**
 * Keepalive and user timeout go on from where they were. The kernel starts both anew on a fresh socket, so the target
 * first sets what is left, and the configured values again once the client has been heard (`restoreTimers`).
 */
import type { TcpImage } from '@restitch/wire/internal';
import {
  getIntOptionIfKnown,
  setIntOption,
  so,
  solSocket,
  solTcp,
  tcp,
  type TcpInfo,
} from '@restitch/sys/internal';

/** The values an application configured: seconds, count, milliseconds. */
export interface TimerSettings {
  readonly keepidle: number;
  readonly keepcnt: number;
  readonly userTimeout: number;
}

/**
 * How far both timers have run, in milliseconds. `set` are the socket's options; `configured` is given if they are what
 * an earlier move had left of the application's values, and then the time of before that move is counted, too.
 */
export function elapsedOnTimers(
  info: TcpInfo,
  set: TcpImage['options'],
  configured?: TimerSettings,
): Pick<TcpImage, 'keepaliveElapsedMs' | 'unackedElapsedMs'> {
  const before = configured === undefined ? undefined : shortenedBy(set, configured);
  const isWaiting = info.unackedSegments > 0 || info.probes > 0;
  return {
    keepaliveElapsedMs: Math.min(info.lastDataRecvMs, info.lastAckRecvMs) + (before?.keepaliveMs ?? 0),
    unackedElapsedMs: isWaiting ? unackedElapsedMs(info) + (before?.userTimeoutMs ?? 0) : 0,
  };
}

/** What an earlier move took off the configured values. */
function shortenedBy(
  set: TcpImage['options'],
  configured: TimerSettings,
): { readonly keepaliveMs: number; readonly userTimeoutMs: number } {
  const { keepidle = 0, keepcnt = 0, keepintvl = 0, userTimeout = 0 } = set;
  const keepaliveSec = configured.keepidle - keepidle + (configured.keepcnt - keepcnt) * keepintvl;
  return { keepaliveMs: keepaliveSec * 1000, userTimeoutMs: configured.userTimeout - userTimeout };
}

/**
 * The kernel does not tell when the oldest unacknowledged byte first left. Each timeout doubled the RTO, so the
 * waits before the last one sum up to rto·(1 − 2^−backoff); no answer can have been waited for longer than since the
 * last acknowledgement.
 */
function unackedElapsedMs(info: TcpInfo): number {
  const waitedMs = Math.round((info.rtoUs / 1000) * (1 - 2 ** -info.backoff)) + info.lastDataSentMs;
  return Math.min(info.lastAckRecvMs, waitedMs);
}

/**
 * Sets what is left of both budgets. Returns the configured values if they differ from what was set, for
 * `restoreTimers`; undefined if nothing was shortened.
 */
export function continueTimers(fd: number, image: TcpImage): TimerSettings | undefined {
  const configured = configuredTimers(image);
  const left = remainingTimers(image, configured);
  if (left.userTimeout > 0) setIntOption(fd, solTcp, tcp.userTimeout, left.userTimeout);
  if (image.options.keepalive === 1) {
    setIntOption(fd, solTcp, tcp.keepidle, left.keepidle);
    setIntOption(fd, solTcp, tcp.keepcnt, left.keepcnt);
    setIntOption(fd, solSocket, so.keepalive, 1);
  }
  const isSame =
    left.userTimeout === configured.userTimeout &&
    left.keepidle === configured.keepidle &&
    left.keepcnt === configured.keepcnt;
  return isSame ? undefined : configured;
}

/** Puts the configured timers back; to be called once the client has been heard. */
export function restoreTimers(fd: number, timers: TimerSettings): void {
  setIntOption(fd, solTcp, tcp.keepidle, timers.keepidle);
  setIntOption(fd, solTcp, tcp.keepcnt, timers.keepcnt);
  setIntOption(fd, solTcp, tcp.userTimeout, timers.userTimeout);
}

function configuredTimers(image: TcpImage): TimerSettings {
  const { keepidle = 7200, keepcnt = 9, userTimeout = 0 } = image.options;
  return { keepidle, keepcnt, userTimeout };
}

/** Whole seconds are all that keepalive takes; rounding is upwards, so no session ends early. */
function remainingTimers(image: TcpImage, configured: TimerSettings): TimerSettings {
  const intervalMs = (image.options.keepintvl ?? 75) * 1000;
  const idleLeftMs = configured.keepidle * 1000 - image.keepaliveElapsedMs;
  const probesSent = idleLeftMs > 0 ? 0 : 1 + Math.floor(-idleLeftMs / intervalMs);
  const firstWaitMs = idleLeftMs > 0 ? idleLeftMs : intervalMs - (-idleLeftMs % intervalMs);
  const { userTimeout } = configured;
  return {
    keepidle:
      image.options.keepalive === 1 ? Math.max(1, Math.ceil(firstWaitMs / 1000)) : configured.keepidle,
    keepcnt:
      image.options.keepalive === 1 ? Math.max(1, configured.keepcnt - probesSent) : configured.keepcnt,
    userTimeout: userTimeout === 0 ? 0 : Math.max(1, userTimeout - image.unackedElapsedMs),
  };
}

/**
 * A fresh socket has no measure of the round trip, and one that came by a take-over has a wrong one (the echo of the dead
 * owner's clock): what is lost in its first seconds would be sent again after 3 s, and after 6 s more.
 */
const cappedTimeoutMs = 1000;

/**
 * How long timeouts are capped: long enough for real measures to have come. Not longer, because as long as they are the
 * kernel gives a silent client up sooner: 5.4 s with `tcp_retries2` at 6, 14 s with the default of 15.
 */
export const timeoutsCappedForMs = 5000;

/** What sockets of this process have without a cap; undefined if the kernel knows none. */
let usualTimeoutMs: number | undefined;

/** Caps the retransmission timeouts of a fresh socket, where the kernel can (Linux 6.15). */
export function capTimeouts(fd: number): void {
  usualTimeoutMs ??= getIntOptionIfKnown(fd, solTcp, tcp.rtoMaxMs);
  if (usualTimeoutMs !== undefined && usualTimeoutMs > cappedTimeoutMs)
    setIntOption(fd, solTcp, tcp.rtoMaxMs, cappedTimeoutMs);
}

/** Takes the cap away. */
export function uncapTimeouts(fd: number): void {
  if (usualTimeoutMs !== undefined) setIntOption(fd, solTcp, tcp.rtoMaxMs, usualTimeoutMs);
}
