/** The dialling side: connects, verifies who answers, and waits until the other side has accepted us too. */
import { type SecureContextOptions, type TLSSocket, connect } from 'node:tls';
import {
  type Counters,
  type Logger,
  RestitchError,
  createCounters,
  isErrorCode,
  silentLogger,
} from '@restitch/core';
import { admissionSchema } from '@restitch/wire/internal';
import type { Channel, PeerIdentity, TlsFiles } from './contract.js';
import { type PeerExpectation, assertPeerAllowed, certificateIdentity } from './identity.js';
import { defaultHandshakeMs } from './listen-channels.js';
import { countRefusal, handshakeError } from './refusals.js';
import { TlsChannel } from './tls-channel.js';
import { createTlsMaterialSource } from './tls-material.js';

/** What `openChannel` needs. */
export interface OpenOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: TlsFiles;
  /** Who must answer; without a name any party of the role will do. */
  readonly expect: PeerExpectation;
  readonly maxMessageBytes: number;
  readonly signal?: AbortSignal;
  /** For connecting, the handshake and the other side's word together. */
  readonly handshakeMs?: number;
  readonly idleMs?: number;
  readonly logger?: Logger;
  readonly counters?: Counters;
}

/**
 * Connects and resolves when both sides have accepted each other. Files are read anew for each call.
 *
 * Rejects with `not_authenticated` or `forbidden` (either side refused), `peer_lost` (nobody there, connection broken),
 * `deadline_exceeded`, `config_invalid` (TLS files) or the signal's reason.
 */
export async function openChannel(options: OpenOptions): Promise<Channel> {
  const { logger = silentLogger, counters = createCounters(), handshakeMs = defaultHandshakeMs } = options;
  options.signal?.throwIfAborted();
  const who = `${options.expect.role} at ${options.host}:${options.port}`;
  const deadline = AbortSignal.timeout(handshakeMs);
  const signal = options.signal === undefined ? deadline : AbortSignal.any([options.signal, deadline]);
  const material = createTlsMaterialSource(options.tls, { logger, counters }).current();
  const socket = dial(options, material.options);
  const cut = (): void => {
    socket.destroy(
      deadline.aborted && options.signal?.aborted !== true
        ? new RestitchError('deadline_exceeded', `connect to ${who}: no answer in ${handshakeMs} ms`, {
            details: { reason: 'handshake_timeout' },
          })
        : toError(options.signal?.reason),
    );
  };
  signal.addEventListener('abort', cut, { once: true });
  try {
    const peer = await secured(socket, material.identity.cluster, options.expect);
    const { maxMessageBytes, idleMs = 0 } = options;
    const channel = new TlsChannel(socket, { peer, maxMessageBytes, idleMs, logger, counters });
    await accepted(channel);
    return channel;
  } catch (error) {
    socket.destroy();
    if (options.signal?.aborted === true) throw options.signal.reason;
    const refusal = named(handshakeError(error as Error), who);
    countRefusal(refusal, { logger, counters, who });
    throw refusal;
  } finally {
    signal.removeEventListener('abort', cut);
  }
}

function dial(options: OpenOptions, context: SecureContextOptions): TLSSocket {
  return connect({
    ...context,
    host: options.host,
    port: options.port,
    // Instead of the host name the identity is checked, in `secured`.
    checkServerIdentity: (): undefined => undefined,
  });
}

/** Resolves with who answered, once the chain has been verified by node:tls and the identity by us. */
function secured(socket: TLSSocket, cluster: string, expect: PeerExpectation): Promise<PeerIdentity> {
  return new Promise((resolve, reject) => {
    socket.once('secureConnect', () => {
      try {
        // Asked once only: on the dialling side node:tls takes the certificate out of the chain (seen on 20.20).
        const certificate = socket.getPeerX509Certificate();
        if (certificate === undefined) throw new RestitchError('not_authenticated', 'no certificate shown');
        const peer = certificateIdentity(certificate);
        assertPeerAllowed(peer, cluster, [expect]);
        resolve(peer);
      } catch (error) {
        reject(error);
      }
    });
    socket.once('error', reject);
    socket.once('close', () => reject(new RestitchError('peer_lost', 'closed during the handshake')));
  });
}

/** The first message is the listener's verdict on us. */
function accepted(channel: TlsChannel): Promise<void> {
  return new Promise((resolve, reject) => {
    channel.onClose((reason) => reject(reason ?? new RestitchError('closed', 'closed')));
    channel.onMessage((message) => {
      channel.holdMessages();
      const { data: said } = admissionSchema.safeParse(message);
      if (said?.t === 'accepted') return resolve();
      const code = isErrorCode(said?.code) ? said.code : 'message_invalid';
      const reason = said?.reason ?? code;
      reject(
        new RestitchError(code, `the other side refused: ${reason}`, {
          details: { reason: 'refused_by_peer', peerReason: reason },
        }),
      );
    });
  });
}

function named(error: RestitchError, who: string): RestitchError {
  return new RestitchError(error.code, `${who}: ${error.message}`, {
    cause: error,
    details: error.details,
    retryable: error.retryable,
  });
}

function toError(reason: unknown): Error {
  return reason instanceof Error ? reason : new RestitchError('closed', 'connecting was given up');
}
