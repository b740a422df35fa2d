/** Where images come in: only from endpoints, only in the order of the protocol, only what was reserved for the sender. */
import { type Channel, type ChannelListener, type TlsFiles, listenChannels } from '@restitch/channel';
import { type Counters, type Logger, RestitchError } from '@restitch/core';
import {
  assertVersion,
  parseMessage,
  protocolVersion,
  toFailure,
  toTargetSchema,
} from '@restitch/wire/internal';

/** One image as it came. */
export interface IncomingImage {
  readonly moveId: string;
  readonly epoch: number;
  readonly image: Uint8Array;
}

/** Takes an image, or throws; `forbidden`, `stale_epoch` and `message_invalid` also end the sender's connection. */
type TakeImage = (source: string, incoming: IncomingImage) => void;

/** What the state listener needs. */
export interface StateListenerOptions {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly tls: TlsFiles;
  readonly maxMessageBytes: number;
  readonly takeImage: TakeImage;
  /** Takes an owner's commits; without it such connections are refused. */
  readonly takeReplication?: ((channel: Channel, raw: unknown) => void) | undefined;
  readonly counters: Counters;
  readonly logger: Logger;
}

const hostileCodes: ReadonlySet<string> = new Set(['forbidden', 'stale_epoch', 'message_invalid']);

/** Listens for state connections. Throws as `listenChannels` does. */
export function listenState(options: StateListenerOptions): Promise<ChannelListener> {
  return listenChannels({
    host: options.host,
    port: options.port,
    tls: options.tls,
    allow: ['endpoint'],
    maxMessageBytes: options.maxMessageBytes,
    counters: options.counters,
    logger: options.logger,
    onChannel: (channel) => serve(channel, options),
  });
}

function serve(channel: Channel, options: StateListenerOptions): void {
  let hasHello = false;
  let isReplication = false;
  channel.onMessage((raw) => {
    if (isReplication) {
      options.takeReplication?.(channel, raw);
      return;
    }
    if (!hasHello) greet(channel, raw, options);
    const message = parseMessage(toTargetSchema, raw, channel.peer.name);
    if (message.t === 'state-hello') {
      if (hasHello) throw new RestitchError('message_invalid', `second hello from ${channel.peer.name}`);
      if (message.name !== channel.peer.name) {
        throw new RestitchError('forbidden', `${channel.peer.name} calls itself ${message.name}`);
      }
      isReplication = message.purpose === 'replication';
      if (isReplication && options.takeReplication === undefined) {
        throw new RestitchError('forbidden', 'this endpoint keeps no replicas');
      }
      hasHello = true;
      channel.send({ t: 'state-welcome', protocol: protocolVersion, name: options.name });
      return;
    }
    if (!hasHello)
      throw new RestitchError('message_invalid', `image from ${channel.peer.name} before its hello`);
    take(channel, message, options);
  });
}

/** As the access point's: whoever speaks another major is told ours and cut off. */
function greet(channel: Channel, first: unknown, { name }: StateListenerOptions): void {
  try {
    assertVersion(first, channel.peer.name);
  } catch (error) {
    channel.send({ t: 'state-welcome', protocol: protocolVersion, name });
    channel.flush();
    throw error;
  }
}

function take(channel: Channel, incoming: IncomingImage, options: StateListenerOptions): void {
  try {
    options.takeImage(channel.peer.name, incoming);
  } catch (error) {
    const refusal = error as RestitchError;
    options.counters.add(`endpoint_images_refused_${refusal.code}_total`);
    if (hostileCodes.has(refusal.code)) throw refusal;
    channel.send({ t: 'image-refused', moveId: incoming.moveId, failure: toFailure(refusal) });
  }
}
