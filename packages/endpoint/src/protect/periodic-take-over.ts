/** A replica of level periodic becomes a session again, or an honest reset. */
import type { Clock, Counters, Flow, Logger } from '@restitch/core';
import type { PlainData } from '@restitch/wire';
import type { TcpImage, Opening } from '@restitch/wire/internal';
import {
  attachWitness,
  type GuardControl,
  type GuardPins,
  type Replica,
  type Testimony,
  type Witness,
  type WitnessExpectation,
} from '@restitch/guard/internal';
import { detachFilter } from '@restitch/sys/internal';
import type { Session } from '../session/session.js';
import { type ActiveTcp, activateSocket, type PendingTcp } from '../tcp/index.js';
import { askClient, closeSilently, resetClient } from './client-witness.js';

/** A session that could not go on, as the application of its heir is told. */
export interface LostSession {
  readonly id: string;
  readonly listener: string;
  readonly flow: Flow;
  readonly epoch: number;
  /** `contradicted`: bytes have passed since the checkpoint. `silent`: the client did not answer. `gone`: it has ended. `replay`: the application made other bytes than before. */
  readonly reason: 'contradicted' | 'silent' | 'gone' | 'replay';
  /** Number and state of the checkpoint: all that is left. */
  readonly commit: number;
  readonly state: PlainData;
  /** Bytes the client has sent and received since, as far as it has told; both were lost with the server. */
  readonly clientSentBytes: number;
  readonly clientReceivedBytes: number;
}

/** A replica whose socket stands and hears nothing yet. */
export interface PeriodicReplica {
  readonly pending: PendingTcp;
  readonly replica: Replica;
  readonly opening: Opening;
  readonly epoch: number;
}

/** What taking over works with. */
export interface PeriodicContext {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly onLost: (lost: LostSession) => void;
}

/** Takes sessions over, or tells their clients. */
export class PeriodicTakeOvers {
  readonly #ctx: PeriodicContext;

  constructor(context: PeriodicContext) {
    this.#ctx = context;
  }

  /** The socket if nothing has passed since the checkpoint; undefined if it is closed and the client was reset. */
  async decide(asked: PeriodicReplica, pins: GuardPins, guard: GuardControl): Promise<ActiveTcp | undefined> {
    const { clock, counters, logger, onLost } = this.#ctx;
    const { pending, replica, opening, epoch } = asked;
    const expected = { clientSeq: expectedClientSeq(pending.tcp, replica), writeSeq: pending.tcp.writeSeq };
    const { active, witness } = activateWitnessed(pending, pins, expected, replica.fin);
    const verdict = await askClient(active.fd, witness, { clock, isProbed: replica.fin });
    const said = witness.read();
    witness.close();
    if (verdict === 'agreed') {
      detachFilter(active.fd);
      return active;
    }
    closeSilently(active.fd);
    guard.allowReset(opening.flow, epoch);
    const { clientSeq, serverSeq, ...bytes } = positionsOf(pending.tcp, expected.clientSeq, said);
    const { flow, template, listener } = opening;
    if (verdict !== 'gone') resetClient({ flow, template, clientSeq, serverSeq }, clock.wallMs());
    const commit = opening.commitBase + replica.n;
    counters.add(`endpoint_take_overs_reset_${verdict}_total`);
    logger.warn(
      { session: replica.id, reason: verdict, commit },
      'session cannot go on, its client is reset',
    );
    const state = (replica.state as { readonly app?: PlainData } | null)?.app ?? null;
    onLost({ id: replica.id, listener, flow, epoch, reason: verdict, commit, state, ...bytes });
    return undefined;
  }
}

/** In service, but deaf to all that contradicts the checkpoint. */
function activateWitnessed(
  pending: PendingTcp,
  pins: GuardPins,
  expected: WitnessExpectation,
  isProbing: boolean,
): { readonly active: ActiveTcp; readonly witness: Witness } {
  let witness: Witness | undefined;
  const replaceFilter = (fd: number): void => void (witness = attachWitness(pins, fd, expected));
  // A half-closed socket sends no probe of its own: it must leave before the client's FIN is given to it.
  const active = activateSocket(pending, { replaceFilter, isProbing });
  return { active, witness: witness as unknown as Witness };
}

/** Where the client stands; where the checkpoint stands if it has said nothing. */
function positionsOf(
  tcp: TcpImage,
  expectedSeq: number,
  said: Testimony,
): { clientSeq: number; serverSeq: number; clientSentBytes: number; clientReceivedBytes: number } {
  if (said.seen === 0) {
    return { clientSeq: expectedSeq, serverSeq: tcp.writeSeq, clientSentBytes: 0, clientReceivedBytes: 0 };
  }
  const ahead = (a: number, b: number): number => Math.max(0, (a - b) | 0);
  return {
    clientSeq: said.clientSeq,
    serverSeq: said.ack,
    clientSentBytes: ahead(said.clientSeq, expectedSeq),
    clientReceivedBytes: ahead(said.ack, tcp.writeSeq),
  };
}

/** The client's next byte if nothing came since the checkpoint, its FIN counted. */
function expectedClientSeq(tcp: TcpImage, replica: Replica): number {
  return (tcp.rcvNxt + (replica.fin ? 1 : 0)) >>> 0;
}

/** A session whose application made other output than before. */
export function lostInReplay(session: Session): LostSession {
  const { id, listener, flow, epoch, state } = session;
  const commit = session.resumedFromCommit ?? 0;
  const bytes = { clientSentBytes: 0, clientReceivedBytes: 0 };
  return { id, listener, flow, epoch, reason: 'replay', commit, state, ...bytes };
}
