/**
 * State connections to targets: opened when a pair first needs one, shared by all its moves, closed when idle.
 *
 * A mutual TLS handshake costs 3.6 ms of CPU for both sides; one a move would cost more than the move.
 */
import { type Channel, type TlsFiles, openChannel } from '@restitch/channel';
import { type Clock, type Counters, type Logger, RestitchError } from '@restitch/core';
import { assertVersion, parseMessage, protocolVersion, toSourceSchema } from '@restitch/wire/internal';
import { withDeadline } from './with-deadline.js';

/** Where and who the target is. */
export interface StateTarget {
  readonly name: string;
  readonly address: { readonly address: string; readonly port: number };
}

/** What the pool needs. */
export interface StatePoolOptions {
  readonly name: string;
  readonly tls: TlsFiles;
  readonly maxMessageBytes: number;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  /** A pair that has not moved anything for so long will open anew; a drain's batches come closer together. */
  readonly idleMs?: number;
  readonly openMs?: number;
}

interface Pooled {
  readonly opening: Promise<Channel>;
  /** Once it stands. */
  channel: Channel | undefined;
  cancelIdle: () => void;
}

/** Outgoing state connections by target. */
export class StatePool {
  readonly #options: StatePoolOptions;
  readonly #pooled = new Map<string, Pooled>();

  constructor(options: StatePoolOptions) {
    this.#options = options;
  }

  /** How many connections stand or are being opened. */
  get size(): number {
    return this.#pooled.size;
  }

  /** An open connection to the target. Rejects with `transfer_failed`, the reason as its cause. */
  async open(target: StateTarget): Promise<Channel> {
    const key = keyOf(target);
    const pooled = this.#pooled.get(key) ?? this.#start(key, target);
    this.#touch(key, pooled);
    try {
      return await pooled.opening;
    } catch (cause) {
      throw new RestitchError(
        'transfer_failed',
        `state connection to ${target.name} (${target.address.address}:${target.address.port}): ${(cause as Error).message}`,
        { cause, details: { target: target.name } },
      );
    }
  }

  /** The connection to the target if it stands, without a turn of the event loop. */
  ready(target: StateTarget): Channel | undefined {
    const key = keyOf(target);
    const pooled = this.#pooled.get(key);
    if (pooled?.channel !== undefined) this.#touch(key, pooled);
    return pooled?.channel;
  }

  /** Closes all. */
  close(): void {
    for (const pooled of this.#pooled.values()) {
      pooled.cancelIdle();
      pooled.opening.then(
        (channel) => channel.close(),
        () => undefined,
      );
    }
    this.#pooled.clear();
  }

  #start(key: string, target: StateTarget): Pooled {
    const pooled: Pooled = { opening: this.#dial(target), channel: undefined, cancelIdle: () => undefined };
    this.#pooled.set(key, pooled);
    const forget = (): void => {
      pooled.cancelIdle();
      if (this.#pooled.get(key) === pooled) this.#pooled.delete(key);
    };
    pooled.opening.then((channel) => {
      pooled.channel = channel;
      channel.onClose(forget);
    }, forget);
    return pooled;
  }

  async #dial(target: StateTarget): Promise<Channel> {
    const { name, tls, clock, counters, logger, maxMessageBytes, openMs = 3000 } = this.#options;
    const channel = await openChannel({
      host: target.address.address,
      port: target.address.port,
      tls,
      expect: { role: 'endpoint', name: target.name },
      maxMessageBytes,
      handshakeMs: openMs,
      counters,
      logger,
    });
    let isWelcome = false;
    const welcome = new Promise<void>((resolve, reject) => {
      channel.onClose((reason) =>
        reject(reason ?? new RestitchError('peer_lost', 'closed before its welcome')),
      );
      channel.onMessage((raw) => {
        if (!isWelcome) assertVersion(raw, target.name);
        isWelcome = true;
        const message = parseMessage(toSourceSchema, raw, target.name);
        if (message.t === 'state-welcome') return resolve();
        // The access point hears of it from the target; here it is only counted.
        counters.add('endpoint_images_refused_by_target_total');
        logger.warn({ moveId: message.moveId, code: message.failure.code }, message.failure.message);
      });
    });
    channel.send({ t: 'state-hello', protocol: protocolVersion, name });
    try {
      await withDeadline(welcome, openMs, clock, `welcome of ${target.name}`);
      counters.add('endpoint_state_connections_opened_total');
      return channel;
    } catch (error) {
      channel.close();
      throw error;
    }
  }

  #touch(key: string, pooled: Pooled): void {
    const { clock, idleMs = 30_000 } = this.#options;
    pooled.cancelIdle();
    pooled.cancelIdle = clock.after(idleMs, () => {
      if (this.#pooled.get(key) === pooled) this.#pooled.delete(key);
      pooled.opening.then(
        (channel) => channel.close(),
        () => undefined,
      );
    });
  }
}

function keyOf({ name, address }: StateTarget): string {
  return `${name} ${address.address} ${address.port}`;
}
