/**
 * Messages as bytes: a 4-byte big-endian length, then one plain msgpack value. Bytes in, messages out, no I/O.
 *
 * The length is checked before anything is kept, and a message is put together only when its last byte is there: a peer
 * that announces 64 MiB and sends ten bytes costs ten bytes.
 */
import { RestitchError } from '@restitch/core';
import { decodePlain, encodePlain } from './plain-codec.js';

/** Bytes before each message. */
export const frameHeaderBytes = 4;

/** Most values in one message: the longest list of sessions has a quarter of it, and it is decoded in 0.2 s at worst. */
const maxMessageValues = 2 ** 19;

/** Turns a byte stream into messages. */
export interface FrameParser {
  /** Takes the next bytes; calls back for each whole message in order. Throws `message_invalid`; then it is of no use. */
  push(chunk: Uint8Array, onMessage: (message: unknown) => void): void;
  /** Bytes of a message that has begun and not ended. */
  readonly partialBytes: number;
}

/** Header and body of one message; two buffers, so that an image of megabytes is not copied. */
export function encodeFrame(message: object): readonly [header: Buffer, body: Buffer] {
  const body = encodePlain(message);
  const header = Buffer.allocUnsafe(frameHeaderBytes);
  header.writeUInt32BE(body.length);
  return [header, body];
}

/** A parser for one connection; `maxMessageBytes` bounds the body of each message. */
export function createFrameParser(maxMessageBytes: number): FrameParser {
  const header = new Uint8Array(frameHeaderBytes);
  let headerBytes = 0;
  let bodyBytes = 0;
  let missing = 0;
  let parts: Uint8Array[] = [];

  const takeHeader = (chunk: Uint8Array, at: number): number => {
    const n = Math.min(frameHeaderBytes - headerBytes, chunk.length - at);
    header.set(chunk.subarray(at, at + n), headerBytes);
    headerBytes += n;
    if (headerBytes === frameHeaderBytes) {
      bodyBytes = readLength(header);
      if (bodyBytes > maxMessageBytes) {
        throw new RestitchError(
          'message_invalid',
          `message of ${bodyBytes} bytes announced, the bound is ${maxMessageBytes}`,
          { details: { reason: 'oversize', messageBytes: bodyBytes, maxMessageBytes } },
        );
      }
      missing = bodyBytes;
    }
    return n;
  };

  const takeBody = (chunk: Uint8Array, at: number, onMessage: (message: unknown) => void): number => {
    const n = Math.min(missing, chunk.length - at);
    const part = chunk.subarray(at, at + n);
    missing -= n;
    if (missing > 0) {
      parts.push(part);
      return n;
    }
    const body = parts.length === 0 ? part : Buffer.concat([...parts, part], bodyBytes);
    parts = [];
    headerBytes = 0;
    onMessage(decodePlain(body, maxMessageValues));
    return n;
  };

  return {
    push(chunk, onMessage) {
      let at = 0;
      while (at < chunk.length) {
        at += headerBytes < frameHeaderBytes ? takeHeader(chunk, at) : takeBody(chunk, at, onMessage);
        // An empty body never fits the grammar; decodePlain says so now, not when the next bytes come.
        if (headerBytes === frameHeaderBytes && bodyBytes === 0) takeBody(chunk, at, onMessage);
      }
    },
    get partialBytes() {
      return headerBytes < frameHeaderBytes ? headerBytes : frameHeaderBytes + bodyBytes - missing;
    },
  };
}

function readLength(header: Uint8Array): number {
  return new DataView(header.buffer, header.byteOffset).getUint32(0);
}
