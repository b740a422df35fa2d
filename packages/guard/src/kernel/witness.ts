/**
 * A client as witness of its own position (bpf/guard/witness.bpf.c): where a replica may be old, nothing else can tell whether
 * bytes have passed since.
 */
import {
  deleteElement,
  getBufferOption,
  lookupElement,
  setIntOption,
  so,
  solSocket,
  updateElement,
} from '@restitch/sys/internal';
import type { GuardPins } from './guard-pins.js';
import { witnessLayout } from './layout.js';

/** Where both streams stand if nothing has passed; sequence numbers. */
export interface WitnessExpectation {
  /** The client's next byte, its FIN counted. */
  readonly clientSeq: number;
  /** Behind the last byte promised to the client. */
  readonly writeSeq: number;
}

/** What the client has said so far. */
export interface Testimony {
  readonly seen: number;
  /** Segments without bytes, exactly at the expected place. */
  readonly agreeing: number;
  /** Segments that show a byte, either way, that the checkpoint does not know. */
  readonly contradicting: number;
  /** Furthest place of its stream, and of ours, that it has told; only if `seen`. */
  readonly clientSeq: number;
  readonly ack: number;
}

/** One socket under observation. */
export interface Witness {
  read(): Testimony;
  /** Forgets what was counted; the filter itself ends with `detachFilter` or the socket. */
  close(): void;
}

/** Replaces the socket's filter: contradicting segments are dropped and counted from now on. */
export function attachWitness(pins: GuardPins, fd: number, expected: WitnessExpectation): Witness {
  const key = Buffer.alloc(8);
  getBufferOption(fd, solSocket, so.cookie, key);
  const value = Buffer.alloc(witnessLayout.sizeBytes);
  value.writeUInt32LE(expected.clientSeq, witnessLayout.expectedSeq);
  value.writeUInt32LE(expected.writeSeq, witnessLayout.expectedAck);
  updateElement(pins.witnesses.value, key, value);
  setIntOption(fd, solSocket, so.attachBpf, pins.witness.value);
  return {
    read() {
      const now = Buffer.alloc(witnessLayout.sizeBytes);
      lookupElement(pins.witnesses.value, key, now);
      return {
        agreeing: now.readUInt32LE(witnessLayout.agreeing),
        contradicting: now.readUInt32LE(witnessLayout.contradicting),
        clientSeq: now.readUInt32LE(witnessLayout.seq),
        ack: now.readUInt32LE(witnessLayout.ack),
        seen: now.readUInt32LE(witnessLayout.seen),
      };
    },
    close: () => void deleteElement(pins.witnesses.value, key),
  };
}
