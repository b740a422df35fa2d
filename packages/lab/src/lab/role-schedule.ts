/**
 * Who may be moved when: in alternate blocks of time one half of the sessions is moved and the other is left alone, so
 * that moved and unmoved session-seconds come from the same run, the same losses and the same machine.
 */
import type { ClientReport } from '../load/clients/driver-messages.js';
import { compareRates, poissonUpper95 } from '../load/measure/rate-ratio.js';

/** Long enough for many moves of each session, short enough for many alternations. */
const blockMs = 2000;
/** A retransmission timeout belongs to what happened when its timer began, and is seen at the next look at the socket. */
const blameMs = 300;

/** Retransmission timeouts of clients by role. */
export interface RtoComparison {
  readonly moved: RtoRate;
  readonly unmoved: RtoRate;
  readonly ratio: number;
  /** With 95 % confidence the true ratio is not above this; null where the unmoved had none. */
  readonly ratioUpper95: number | null;
}

/** Events of one role. */
interface RtoRate {
  readonly rtos: number;
  readonly sessionSeconds: number;
  readonly per1000SessionSeconds: number;
  /** With 95 % confidence the true rate is not above this; says something where no event was seen, too. */
  readonly per1000Upper95: number;
}

/** The schedule of one run; sessions by their index. */
export interface RoleSchedule {
  /** True while the session of that index may be moved. */
  isMoved(index: number, atMs: number): boolean;
  /** Attributes clients' timeouts between the first and the last moment of moving. */
  compare(clients: readonly ClientReport[], endMs: number): RtoComparison;
}

/** A schedule that begins at `startMs` (CLOCK_MONOTONIC). */
export function createRoleSchedule(startMs: number): RoleSchedule {
  const isMoved = (index: number, atMs: number): boolean =>
    (Math.floor((atMs - startMs) / blockMs) + index) % 2 === 0;
  return {
    isMoved,
    compare(clients, endMs) {
      // Whole pairs of blocks only: then each session was in each role for the same time.
      const endsMs = startMs + Math.floor((endMs - startMs) / (2 * blockMs)) * 2 * blockMs;
      const count = { moved: 0, unmoved: 0 };
      clients.forEach((client, index) => {
        for (const seenMs of client.rtoAtMs) {
          const atMs = seenMs - blameMs;
          if (atMs < startMs || atMs >= endsMs) continue;
          count[isMoved(index, atMs) ? 'moved' : 'unmoved']++;
        }
      });
      const sessionSeconds = (clients.length * (endsMs - startMs)) / 2000;
      const { ratio, upper95 } = compareRates(
        { events: count.moved, exposure: sessionSeconds },
        { events: count.unmoved, exposure: sessionSeconds },
      );
      return {
        moved: toRate(count.moved, sessionSeconds),
        unmoved: toRate(count.unmoved, sessionSeconds),
        ratio,
        ratioUpper95: Number.isFinite(upper95) ? upper95 : null,
      };
    },
  };
}

function toRate(rtos: number, sessionSeconds: number): RtoRate {
  const per1000SessionSeconds = sessionSeconds === 0 ? 0 : (1000 * rtos) / sessionSeconds;
  const per1000Upper95 = sessionSeconds === 0 ? 0 : (1000 * poissonUpper95(rtos)) / sessionSeconds;
  return { rtos, sessionSeconds, per1000SessionSeconds, per1000Upper95 };
}
