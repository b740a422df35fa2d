/**
 * Certificates and key of one party, read again when a file changes.
 *
 * The files are looked at when a connection is made (three stat calls, ~15 µs against a handshake of 3 ms), not watched:
 * a watcher misses renames on some file systems and would keep a process alive for nothing.
 */
import { X509Certificate, constants } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { type SecureContextOptions, createSecureContext } from 'node:tls';
import { type Counters, type Logger, RestitchError } from '@restitch/core';
import type { PeerIdentity, TlsFiles } from './contract.js';
import { certificateIdentity } from './identity.js';

/** What one reading of the files gave. */
interface TlsMaterial {
  readonly identity: PeerIdentity;
  /** For `tls.connect` and `tls.createServer`: TLS 1.3 only, no resumption. */
  readonly options: SecureContextOptions;
}

/** Hands out the newest readable material. */
export interface TlsMaterialSource {
  /** The material of the files as they are now; the last good one, counted, if they cannot be used at the moment. */
  current(): TlsMaterial;
}

/** Reads the files. Throws `config_invalid` if they cannot be used; later failures keep what was read last. */
export function createTlsMaterialSource(
  files: TlsFiles,
  observe: { readonly logger: Logger; readonly counters: Counters },
): TlsMaterialSource {
  let stamp = stampOf(files);
  let material = readMaterial(files);
  let failedStamp: string | undefined;
  const refresh = (now: string): void => {
    try {
      material = readMaterial(files);
      stamp = now;
      failedStamp = undefined;
      observe.counters.add('channel_certificates_reread_total');
      observe.logger.info({ certFile: files.certFile }, 'certificates read again');
    } catch (error) {
      // Halfway through a rotation key and certificate do not fit; the last good pair serves until they do.
      failedStamp = now;
      observe.counters.add('channel_certificates_unusable_total');
      observe.logger.warn(
        { certFile: files.certFile, reason: messageOf(error) },
        'new certificates unusable',
      );
    }
  };
  return {
    current() {
      const now = stampOf(files);
      if (now !== stamp && now !== failedStamp) refresh(now);
      return material;
    },
  };
}

/** Inode, size and change time tell an edited from an unchanged file, also one that was renamed into place. */
function stampOf(files: TlsFiles): string {
  return [files.certFile, files.keyFile, files.caFile]
    .map((file) => {
      const s = statSync(file, { bigint: true, throwIfNoEntry: false });
      return s === undefined ? 'absent' : `${s.ino}.${s.size}.${s.mtimeNs}.${s.ctimeNs}`;
    })
    .join(' ');
}

function readMaterial(files: TlsFiles): TlsMaterial {
  try {
    const cert = readFileSync(files.certFile);
    const key = readFileSync(files.keyFile);
    const ca = readFileSync(files.caFile);
    const identity = certificateIdentity(new X509Certificate(cert));
    const options: SecureContextOptions = {
      cert,
      key,
      ca,
      minVersion: 'TLSv1.3',
      maxVersion: 'TLSv1.3',
      // A resumed session would carry on a verification made with certificates that have been rotated away.
      secureOptions: constants.SSL_OP_NO_TICKET,
    };
    createSecureContext(options);
    return { identity, options };
  } catch (cause) {
    throw new RestitchError(
      'config_invalid',
      `TLS files ${files.certFile}, ${files.keyFile}, ${files.caFile}: ${messageOf(cause)}`,
      { cause },
    );
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
