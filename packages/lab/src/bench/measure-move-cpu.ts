/**
 * What a move costs the two hosts in processor time, measured with the thread's CPU clock around freeze and around
 * thaw: wall time would measure whoever else runs on the machine.
 */
import type { Flow } from '@restitch/core';
import { threadCpuNs } from '@restitch/sys';
import { activateSocket } from '@restitch/endpoint/internal';
import { discardFrozenSocket, freezeSocket } from '@restitch/endpoint/internal';
import { thawSocket } from '@restitch/endpoint/internal';

/** Runs synchronous code where an endpoint's sockets are made, e.g. inside its network namespace. */
type Place = <T>(fn: () => T) => T;

/** What is measured, and how often. */
export interface MoveCpuOptions {
  /** A connected server socket; it is consumed. */
  readonly fd: number;
  readonly flow: Flow;
  /** Where the session goes in turn; the first is not where it stands. Packets of the client must reach neither. */
  readonly places: readonly [Place, Place];
  /** Moves that count; a quarter as many go before them, for the compiler. */
  readonly moves: number;
}

/** Microseconds of processor time. */
export interface MoveCpu {
  /** Freeze and thaw of the same move, summed. */
  readonly hostCpuUs: Percentiles;
  readonly freezeUs: Percentiles;
  readonly thawUs: Percentiles;
  readonly activateUs: Percentiles;
  readonly moves: number;
  /** The socket after the last move. */
  readonly fd: number;
}

/** Nearest-rank percentiles. */
interface Percentiles {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

/** Moves one session to and fro. What the clock itself costs is taken off. */
export function measureMoveCpu({ fd: first, flow, places, moves }: MoveCpuOptions): MoveCpu {
  const warmUp = Math.ceil(moves / 4);
  const clockNs = median(Array.from({ length: 1001 }, () => -threadCpuNs() + threadCpuNs()));
  const cost = (startNs: number): number => Math.max(0, threadCpuNs() - startNs - clockNs) / 1000;
  const freezeUs: number[] = [];
  const thawUs: number[] = [];
  const activateUs: number[] = [];
  let fd = first;
  for (let move = 0; move < warmUp + moves; move++) {
    const startNs = threadCpuNs();
    const frozen = freezeSocket(fd);
    freezeUs.push(cost(startNs));
    discardFrozenSocket(fd);
    const pending = places[move % 2 === 0 ? 0 : 1](() => {
      const thawNs = threadCpuNs();
      const thawed = thawSocket(frozen.tcp, flow);
      thawUs.push(cost(thawNs));
      return thawed;
    });
    const activateNs = threadCpuNs();
    ({ fd } = activateSocket(pending));
    activateUs.push(cost(activateNs));
  }
  const counted = (all: number[]): number[] => all.slice(warmUp);
  return {
    hostCpuUs: percentiles(counted(freezeUs.map((us, i) => us + (thawUs[i] ?? 0)))),
    freezeUs: percentiles(counted(freezeUs)),
    thawUs: percentiles(counted(thawUs)),
    activateUs: percentiles(counted(activateUs)),
    moves,
    fd,
  };
}

function percentiles(values: readonly number[]): Percentiles {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => {
    const value = sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? 0;
    return Math.round(value * 10) / 10;
  };
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99) };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}
