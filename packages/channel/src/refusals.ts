/** Every refusal is counted under its own name and said once; what the peer sent is never shown. */
import { type Counters, type Logger, RestitchError } from '@restitch/core';

/** Where a refusal is counted and said, and of whom. */
export interface RefusalSink {
  readonly logger: Logger;
  readonly counters: Counters;
  readonly who: string;
}

/** Counts `channel_refused_<reason>_total`; the reason is the error's own detail, else its code. */
export function countRefusal(error: RestitchError, sink: RefusalSink): void {
  const reason = typeof error.details['reason'] === 'string' ? error.details['reason'] : error.code;
  sink.counters.add(`channel_refused_${reason}_total`);
  const fields = { peer: sink.who, code: error.code, reason };
  if (error.code === 'internal')
    sink.logger.error({ ...fields, error: error.stack }, 'listener failed, connection closed');
  // Nobody has refused anything, and whoever dials hears of it each time.
  else if (reason === nobodyListens) sink.logger.debug(fields, error.message);
  else sink.logger.warn(fields, `peer refused: ${error.message}`);
}

/** Reason of a failure: the host answers that nobody listens at that port. */
export const nobodyListens = 'nobody_listens';

/** Verification results of OpenSSL (x509_vfy.h) worth a name of their own; the rest is an authority we do not know. */
const verificationReasons: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'certificate_expired',
  CERT_NOT_YET_VALID: 'certificate_not_yet_valid',
  CERT_REVOKED: 'certificate_revoked',
  INVALID_PURPOSE: 'certificate_purpose',
};

/** A verification failure as `not_authenticated`. */
export function verificationError(opensslCode: string): RestitchError {
  const reason = verificationReasons[opensslCode] ?? 'unknown_authority';
  return new RestitchError('not_authenticated', `certificate of the peer refused: ${opensslCode}`, {
    details: { reason, openssl: opensslCode },
  });
}

/** A handshake that ended in an error of node:tls. */
export function handshakeError(error: Error & { code?: string }): RestitchError {
  const code = error.code ?? '';
  const make = (errorCode: 'not_authenticated' | 'peer_lost' | 'deadline_exceeded', reason: string) =>
    new RestitchError(errorCode, `TLS handshake: ${code}`, {
      cause: error,
      details: { reason },
    });
  if (error instanceof RestitchError) return error;
  // Errors of the operating system and of OpenSSL carry a code; what does not is a mistake of ours.
  if (code === '') return new RestitchError('internal', `TLS handshake: ${error.message}`, { cause: error });
  if (code === 'ERR_TLS_HANDSHAKE_TIMEOUT') return make('deadline_exceeded', 'handshake_timeout');
  if (notTlsCodes.has(code)) return make('not_authenticated', 'not_tls');
  if (/PROTOCOL|VERSION/.test(code)) return make('not_authenticated', 'tls_version');
  if (/ALERT/.test(code)) return make('not_authenticated', 'refused_by_peer');
  if (code.startsWith('ERR_SSL')) return make('not_authenticated', 'handshake_failed');
  if (/^(CERT_|UNABLE_|SELF_|DEPTH_|INVALID_|HOSTNAME_|ERROR_IN_)/.test(code)) return verificationError(code);
  return make('peer_lost', code === 'ECONNREFUSED' ? nobodyListens : 'handshake_broken');
}

const notTlsCodes: ReadonlySet<string> = new Set([
  'ERR_SSL_HTTP_REQUEST',
  'ERR_SSL_HTTPS_PROXY_REQUEST',
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_BAD_RECORD_TYPE',
  'ERR_SSL_UNEXPECTED_MESSAGE',
]);
