/**
 * One control connection to an endpoint: numbers requests, matches replies, checks every message at the border.
 *
 * Replies go to callbacks, not promises: a move makes six requests, and a promise costs a turn of the event loop that
 * stands between hold and switch.
 */
import { RestitchError } from '@restitch/core';
import type { Clock } from '@restitch/core';
import {
  assertVersion,
  fromEndpointSchema,
  fromFailure,
  parseMessage,
  parseReply,
  protocolVersion,
} from '@restitch/wire/internal';
import type { EndpointRequest, FromEndpoint, ReplyTo, ToEndpoint } from '@restitch/wire/internal';
import type { Channel } from '@restitch/channel';

type WithoutNumber<T> = T extends { rq: number } ? Omit<T, 'rq'> : never;
/** What can be asked. */
type RequestKind = EndpointRequest['t'];
/** A request before it has its number. */
export type NumberlessRequest<T extends RequestKind = RequestKind> = Extract<
  WithoutNumber<EndpointRequest>,
  { t: T }
>;
/** What comes back: the reply's data, the peer's refusal, or `lost` when the connection ended first. */
export type ReplyListener<T extends RequestKind = RequestKind> = (
  data: ReplyTo<T> | RestitchError | 'lost',
) => void;
/** Messages that are not replies. */
export type EndpointEvent = Exclude<FromEndpoint, { t: 'reply' | 'refusal' }>;

/** What the owner of a link hears. */
export interface LinkListeners {
  onEvent(event: EndpointEvent): void;
  onClose(reason: Error | undefined): void;
}

/** A request that was sent, and who waits for its reply. */
interface Waiting {
  readonly to: RequestKind;
  readonly done: ReplyListener;
}

/** How long a message may wait for others. */
const patienceMs = 1;

/** A control connection. */
export class EndpointLink {
  readonly peerName: string;
  #nextNumber = 1;
  #isClosed = false;
  #isGreeted = false;
  readonly #waiting = new Map<number, Waiting>();
  #patient: object[] = [];
  readonly #channel: Channel;
  readonly #clock: Clock;
  readonly #onClose: LinkListeners['onClose'];
  #lastHeardMs: number;

  constructor(channel: Channel, clock: Clock, listeners: LinkListeners) {
    this.#channel = channel;
    this.#clock = clock;
    this.peerName = channel.peer.name;
    this.#lastHeardMs = clock.monotonicMs();
    channel.onMessage((raw) => this.#receive(raw, listeners));
    channel.onClose((reason) => this.#finish(reason));
    this.#onClose = listeners.onClose;
  }

  /** CLOCK_MONOTONIC milliseconds of the last message. */
  get lastHeardMs(): number {
    return this.#lastHeardMs;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Sends an event or a request whose answer nobody waits for. */
  tell(message: Exclude<ToEndpoint, EndpointRequest>): void {
    this.#flushPatient();
    this.#channel.send(message);
  }

  /** As `request`, but may wait a millisecond for company: many messages in one TLS write cost little more than one. */
  requestPatiently<T extends RequestKind>(message: NumberlessRequest<T>, done: ReplyListener<T>): void {
    if (this.#isClosed) {
      queueMicrotask(() => done('lost'));
      return;
    }
    if (this.#patient.length === 0) this.#clock.after(patienceMs, () => this.#flushPatient());
    this.#patient.push(this.#number(message, done));
  }

  /** Sends a request. On a closed link, or when it closes, `done` gets `lost`. Never calls `done` before it returns. */
  request<T extends RequestKind>(message: NumberlessRequest<T>, done: ReplyListener<T>): void {
    if (this.#isClosed) {
      queueMicrotask(() => done('lost'));
      return;
    }
    const numbered = this.#number(message, done);
    this.#flushPatient();
    this.#channel.sendUrgently(numbered);
  }

  /** Counts as lost at once: a peer that does not answer may not answer the close either. */
  close(reason?: Error): void {
    this.#channel.close(reason);
    this.#finish(reason);
  }

  #finish(reason: Error | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#failWaiting();
    this.#onClose(reason);
  }

  #number<T extends RequestKind>(message: NumberlessRequest<T>, done: ReplyListener<T>): object {
    const rq = this.#nextNumber;
    this.#nextNumber = rq === 0xffffffff ? 1 : rq + 1;
    this.#waiting.set(rq, { to: message.t, done: done as ReplyListener });
    // Callers hand over a literal of their own: writing into it is a tenth of the cost of a copy.
    (message as { rq?: number }).rq = rq;
    return message;
  }

  #flushPatient(): void {
    if (this.#patient.length === 0) return;
    for (const message of this.#patient) this.#channel.send(message);
    this.#patient = [];
  }

  #receive(raw: unknown, listeners: LinkListeners): void {
    if (this.#isClosed) return;
    if (!this.#isGreeted) this.#greet(raw);
    const message = parseMessage(fromEndpointSchema, raw, this.peerName);
    this.#lastHeardMs = this.#clock.monotonicMs();
    if (message.t !== 'reply' && message.t !== 'refusal') {
      listeners.onEvent(message);
      return;
    }
    const waiting = this.#waiting.get(message.re);
    if (waiting === undefined) {
      throw new RestitchError(
        'message_invalid',
        `${this.peerName} answered request ${message.re}, which was not asked`,
      );
    }
    const answer =
      message.t === 'reply'
        ? parseReply(waiting.to, message.data, this.peerName)
        : fromFailure(message.failure);
    this.#waiting.delete(message.re);
    waiting.done(answer);
  }

  /** Of another major nothing else is sure to be understood, on either side: it is told our version and cut off. */
  #greet(first: unknown): void {
    this.#isGreeted = true;
    try {
      assertVersion(first, this.peerName);
    } catch (error) {
      this.#channel.send({ t: 'welcome', protocol: protocolVersion });
      this.#channel.flush();
      throw error;
    }
  }

  #failWaiting(): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { done } of waiting) done('lost');
  }
}

/** A request as a promise, for what is not in a hurry. Rejects with the refusal or `deadline_exceeded`. */
export function requestSlowly<T extends RequestKind>(
  link: EndpointLink,
  message: NumberlessRequest<T>,
  clock: Clock,
  deadlineMs: number,
): Promise<ReplyTo<T>> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(deadlineMs, () =>
      reject(
        new RestitchError(
          'deadline_exceeded',
          `${link.peerName}: no answer to ${message.t} in ${deadlineMs} ms`,
        ),
      ),
    );
    link.request(message, (data) => {
      cancel();
      if (data === 'lost')
        reject(new RestitchError('peer_lost', `control connection to ${link.peerName} ended`));
      else if (data instanceof RestitchError) reject(data);
      else resolve(data);
    });
  });
}
