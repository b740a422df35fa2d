/**
 * What a session stands on while it lives in this process. The kernel's connection is one way to carry it (`SocketCarrier`);
 * whoever puts something between, as the buddy of a protected session, is another.
 */
import type { Socket } from 'node:net';

/** What the carrier tells the session that owns it. */
export interface CarrierEvents {
  /** Bytes in order; false stops them until `resume`. */
  onData(chunk: Buffer): boolean;
  onEnd(): void;
  onError(error: Error): void;
  /** The connection is not over, though Node is through with it: a descriptor of it, the session's from now on. Before `onClose`. */
  onKept(fd: number): void;
  /** Our FIN is about to leave. */
  onEnding(): void;
  onClose(): void;
  onTimeout(): void;
}

/** What is left when a carrier has let go of its connection. */
export interface DetachedCarrier {
  /** A descriptor of the connection, owned by the caller; the inner socket no longer knows it. */
  readonly fd: number;
  /** Read from the kernel, not yet given to the session. */
  readonly undelivered: readonly Uint8Array[];
  /** Tail of the batch in flight that the kernel has not taken. */
  readonly unwritten: readonly Uint8Array[];
}

/** Called when a batch has been taken by the kernel, or with the error that ended the connection. */
export type WriteDone = (error?: Error | null) => void;

/** What a session passes on to the socket under it: its options, its idle timer, and whether it has closed. */
export type CarryingSocket = Pick<
  Socket,
  'closed' | 'once' | 'ref' | 'setKeepAlive' | 'setNoDelay' | 'setTimeout' | 'unref'
>;

/** One connection of a session in this process. */
export interface Carrier {
  readonly socket: CarryingSocket;
  /** A reset, which the session sees to, stands in the place of our FIN. */
  endsByReset: boolean;
  /** Number of the descriptor, for inspection only; −1 once closed. */
  readonly fd: number;
  /** True while a connection hangs on it. */
  readonly isAttached: boolean;
  /** The kernel has input that nobody has read, and our FIN is not sent. */
  readonly hasUnread: boolean;
  /** True if `destroy` leaves output behind that is still to be given to the kernel: the session stays attached until then. */
  readonly isLasting: boolean;
  /** Lets data flow. */
  resume(): void;
  /** Reads no more. */
  stopReading(): void;
  /** Writes one batch. The caller waits for `done` before the next. */
  write(batch: readonly Uint8Array[], done: WriteDone): void;
  /** Sends the FIN after the last batch. */
  end(done: () => void): void;
  /**
   * Closes the connection as net.Socket does: what the kernel has is delivered, with our FIN behind it. The descriptor is
   * kept (`onKept`) until it is.
   */
  destroy(): void;
  /** Node's part is over. */
  letGo(): void;
  /** Closes the connection with RST. */
  reset(): void;
  /** Leaves the connection to the kernel, which finishes it without anybody's help. */
  abandon(): void;
  /**
   * Takes the connection away without a packet. Synchronous. Throws `freeze_failed` if the connection has ended,
   * `syscall_failed` if there is no descriptor left; the carrier then goes on.
   */
  detach(): DetachedCarrier;
}
