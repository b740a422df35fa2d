/**
 * What becomes of a process's connections once it has ended, on its own host.
 *
 * | entry | its socket | the entry goes |
 * |---|---|---|
 * | epoch 0, never accepted | its kernel resets it, the guard lets that pass | when quiet (below) |
 * | level commit | destroyed: a successor goes on, and may come back to this host | when quiet |
 * | below, not ended | destroyed: its client was told, or a successor has a checkpoint | when quiet |
 * | below, ended | left alone: the kernel delivers the rest and our FIN | when the kernel has no such socket any more, and the access point was told |
 *
 * *Quiet*: no socket, and for a minute no packet that the guard had to keep back. Until then the entry swallows (level
 * none: lets pass) resets with which the kernel answers stray packets: without an entry, the next process's listener
 * would let them pass, also to clients that a successor serves. Three things take an entry away at any time without the agent: the
 * SYN-ACK of a new connection on the same ports, a registration under a newer epoch or of another session (it becomes
 * that one's), and `GuardControl.remove` by a living process a minute after the end of its connection.
 *
 * Sockets are looked for by sock_diag, twice a second while there is something to wait for. SKNLGRP_INET_TCP_DESTROY
 * would tell sooner, but not of all: a socket becomes a FIN_WAIT2 or TIME_WAIT that still answers long after
 * the kernel has called it destroyed, messages are lost when the queue is full, and an agent that was away has to look anyway.
 */
import { type Flow, formatFlow, type Logger } from '@restitch/core';
import { destroyTcpSocket, findTcpSocket, type ListedSocket, listTcpSockets } from '@restitch/sys';
import { ownFinStates, tcpState } from '@restitch/sys/internal';
import type { GuardControl } from '../kernel/guard-control.js';
import { type GuardedFlow, guardFlags } from '../kernel/layout.js';

/** What is done with the socket behind an entry whose process has ended. */
export type Departure = 'leave' | 'destroy' | 'finish';

/** The table above. */
export function departureOf({ epoch, flags }: Pick<GuardedFlow, 'epoch' | 'flags'>): Departure {
  if (epoch === 0) return 'leave';
  return (flags & guardFlags.finishes) !== 0 ? 'finish' : 'destroy';
}

/** As long as TIME_WAIT: what a client sends of its own accord comes within it. */
export const quietMs = 60_000;

/** A flow as the access point hears of it. */
export interface FinishedFlow {
  readonly flow: Flow;
  readonly epoch: number;
}

/** What it works with. */
export interface DepartedFlowsOptions {
  readonly guard: Pick<GuardControl, 'list' | 'remove'>;
  /** The process behind this lease has ended, or may as well have. */
  readonly isGone: (lease: number) => boolean;
  readonly nowMs: () => number;
  /** Tells the access point; false if that cannot be told now, and is to be tried again. */
  readonly tell: (flows: readonly FinishedFlow[]) => boolean;
  readonly onDestroyed: (count: number) => void;
  readonly logger: Logger;
}

/** The flows of ended processes. It keeps nothing that matters: a new agent finds them in the guard. */
export class DepartedFlows {
  readonly #options: DepartedFlowsOptions;
  /** Entries that only wait to be quiet: packets kept back so far, and since when there were no more. */
  readonly #waiting = new Map<string, { readonly dropped: bigint; readonly sinceMs: number }>();
  #count = 0;

  constructor(options: DepartedFlowsOptions) {
    this.#options = options;
  }

  /** Connections that the kernel has still to finish, or that were not told of, at the last look. */
  get unfinished(): number {
    return this.#count;
  }

  /** Destroys, looks on, tells and removes what is due. Never throws: it is tried again at the next look. */
  look(entries: readonly GuardedFlow[] = this.#options.guard.list()): void {
    const gone = entries.filter(({ lease }) => this.#options.isGone(lease));
    if (gone.length === 0) {
      this.#waiting.clear();
      this.#count = 0;
      return;
    }
    try {
      this.#lookAt(gone);
    } catch (error) {
      this.#options.logger.warn({ flows: gone.length }, `orphans stay: ${(error as Error).message}`);
    }
  }

  #lookAt(gone: readonly GuardedFlow[]): void {
    const { guard, tell, onDestroyed } = this.#options;
    const sockets = new Map<string, ListedSocket>();
    // A socket that a process has closed. Not ESTABLISHED and not CLOSE_WAIT: those without a holder wait in an accept
    // queue, perhaps in that of the next process.
    for (const socket of listTcpSockets(ownFinStates)) {
      sockets.set(formatFlow({ client: socket.remote, vip: socket.local }), socket);
    }
    const finished: FinishedFlow[] = [];
    const keys = new Set<string>();
    let destroyed = 0;
    this.#count = 0;
    for (const entry of gone) {
      const { flow, epoch } = entry;
      const key = formatFlow(flow);
      const departure = departureOf(entry);
      const socket = sockets.get(key);
      keys.add(key);
      if (departure === 'destroy' && socket?.inode === 0) {
        if (destroyTcpSocket(flow.vip, flow.client, socket.cookie)) destroyed++;
      }
      if (departure !== 'finish') {
        if (this.#isQuiet(entry, key)) guard.remove(flow, epoch);
        continue;
      }
      this.#count++;
      if (socket === undefined && !hasSocket(flow)) finished.push({ flow, epoch });
    }
    for (const key of this.#waiting.keys()) if (!keys.has(key)) this.#waiting.delete(key);
    if (destroyed > 0) onDestroyed(destroyed);
    // The entry is what a later agent finds it by: it stays until that was told.
    if (finished.length === 0 || !tell(finished)) return;
    for (const { flow, epoch } of finished) guard.remove(flow, epoch);
    this.#count -= finished.length;
  }

  #isQuiet({ flow, dropped }: GuardedFlow, key: string): boolean {
    const nowMs = this.#options.nowMs();
    const before = this.#waiting.get(key);
    if (before === undefined || before.dropped !== dropped) {
      this.#waiting.set(key, { dropped, sinceMs: nowMs });
      return false;
    }
    if (nowMs - before.sinceMs < quietMs) return false;
    this.#waiting.delete(key);
    // It may be the socket of a process that this agent does not know of and whose lease ran out.
    return !hasSocket(flow);
  }
}

/** True while the kernel still has a connection that does anything but answer late packets. */
function hasSocket({ vip, client }: Flow): boolean {
  const state = findTcpSocket(vip, client)?.state;
  return state !== undefined && state !== tcpState.timeWait && state !== tcpState.close;
}
