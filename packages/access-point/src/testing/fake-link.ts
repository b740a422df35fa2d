/** A control connection in memory whose every message a test delivers, and whose two ends notice a loss separately. */
import type { Channel, PeerIdentity } from '@restitch/channel';
import type { FromEndpoint, ToEndpoint } from '@restitch/wire/internal';

/** One connection. */
export class FakeLink {
  readonly toEndpoint: ToEndpoint[] = [];
  readonly toAccessPoint: FromEndpoint[] = [];
  isOpenHere = true;
  isOpenThere = true;
  #onMessage: (message: unknown) => void = () => undefined;
  #onClose: Array<(reason: Error | undefined) => void> = [];
  readonly channel: Channel;

  constructor(name: string) {
    const peer: PeerIdentity = { cluster: 'test', role: 'endpoint', name };
    this.channel = {
      peer,
      flush: () => undefined,
      queuedBytes: 0,
      sendUrgently: (message) => this.channel.send(message),
      send: (message) => {
        if (this.isOpenHere) this.toEndpoint.push(structuredClone(message) as ToEndpoint);
      },
      onMessage: (listener) => {
        this.#onMessage = listener;
      },
      onClose: (listener) => void this.#onClose.push(listener),
      close: (reason) => this.lostHere(reason),
    };
  }

  /** The endpoint says something. */
  fromEndpoint(message: FromEndpoint): void {
    if (this.isOpenThere) this.toAccessPoint.push(structuredClone(message));
  }

  /** The access point hears the next message. */
  deliverHere(): void {
    const message = this.toAccessPoint.shift();
    if (message === undefined || !this.isOpenHere) return;
    try {
      this.#onMessage(message);
    } catch (error) {
      this.lostHere(error as Error);
    }
  }

  /** The access point notices the loss; what it sent before may still arrive. */
  lostHere(reason?: Error): void {
    if (!this.isOpenHere) return;
    this.isOpenHere = false;
    this.toAccessPoint.length = 0;
    for (const listener of this.#onClose) listener(reason);
  }

  /** The endpoint notices the loss; what it sent before may still arrive. */
  lostThere(): void {
    this.isOpenThere = false;
    this.toEndpoint.length = 0;
  }
}
