/**
 * The connection to one buddy: commits go out, acknowledgements come back. Dialled as long as the buddy is among the
 * peers; after a reconnect both sides find out by numbers where they stand.
 */
import { type Channel, openChannel, Redial, type TlsFiles } from '@restitch/channel';
import { type Clock, type Counters, type Logger, RestitchError } from '@restitch/core';
import {
  assertVersion,
  parseMessage,
  type Peer,
  protocolVersion,
  toSourceSchema,
  type ToBuddy,
  type ToOwner,
  toOwnerSchema,
} from '@restitch/wire/internal';

/** What a link needs and tells. */
export interface ReplicationLinkOptions {
  readonly name: string;
  readonly tls: TlsFiles;
  readonly maxMessageBytes: number;
  readonly peer: Peer;
  readonly onUp: () => void;
  readonly onMessage: (message: ToOwner) => void;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
}

const redialPauses = { firstMs: 20, longestMs: 1000 };
/** Both sides may be busy with the sessions of a dead third. */
const handshakeMs = 10_000;

/** Bytes queued to a slow buddy beyond which its sessions wait; others are on other connections and do not. */
const fullQueueBytes = 32 * 1024 * 1024;

/** One buddy's connection. */
export class ReplicationLink {
  readonly #options: ReplicationLinkOptions;
  readonly #redial = new Redial(redialPauses);
  #channel: Channel | undefined;
  #isUp = false;
  #isClosed = false;

  constructor(options: ReplicationLinkOptions) {
    this.#options = options;
    this.#dial();
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** False if the buddy does not keep up: its sessions' commits wait. */
  get hasRoom(): boolean {
    return (this.#channel?.queuedBytes ?? 0) < fullQueueBytes;
  }

  get instance(): string {
    return this.#options.peer.instance;
  }

  /** Sends if the link is up; what is lost meanwhile is sent again after the resume. */
  send(message: ToBuddy): void {
    if (this.#isUp) this.#channel?.send(message);
  }

  /** Writes what was sent in this turn. */
  flush(): void {
    this.#channel?.flush();
  }

  close(): void {
    this.#isClosed = true;
    this.#isUp = false;
    this.#channel?.close();
  }

  #dial(): void {
    const { name, peer, tls, maxMessageBytes, clock, counters, logger } = this.#options;
    const again = (reason: Error | undefined): void => {
      const level = this.#isUp ? 'info' : 'debug';
      this.#isUp = false;
      this.#channel = undefined;
      if (this.#isClosed) return;
      logger[level]({ buddy: peer.name, reason: reason?.message }, 'replication link down');
      clock.after(this.#redial.pauseMs(reason), () => !this.#isClosed && this.#dial());
    };
    const { address: host, port } = peer.stateAddress;
    const expect = { role: 'endpoint' as const, name: peer.name };
    openChannel({ host, port, tls, expect, maxMessageBytes, handshakeMs, counters, logger }).then(
      (channel) => {
        if (this.#isClosed) return channel.close();
        this.#channel = channel;
        channel.onClose(again);
        channel.onMessage((raw) => this.#onMessage(raw));
        channel.send({ t: 'state-hello', protocol: protocolVersion, name, purpose: 'replication' });
      },
      again,
    );
  }

  #onMessage(raw: unknown): void {
    const { peer, onUp, onMessage, counters } = this.#options;
    if (this.#isUp) {
      onMessage(parseMessage(toOwnerSchema, raw, peer.name));
      return;
    }
    assertVersion(raw, peer.name);
    const welcome = parseMessage(toSourceSchema, raw, peer.name);
    if (welcome.t !== 'state-welcome') {
      throw new RestitchError('message_invalid', `${peer.name} sent ${welcome.t} before its welcome`);
    }
    this.#isUp = true;
    this.#redial.reached();
    counters.add('endpoint_replication_links_total');
    this.#options.logger.info({ buddy: peer.name }, 'replication link up');
    onUp();
  }
}
