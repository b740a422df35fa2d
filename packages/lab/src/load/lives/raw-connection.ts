/**
 * A client's connection by bare socket calls: a client that does not read must leave its bytes in the kernel, and what
 * ended a connection must be seen as the kernel says it. Node's sockets read ahead, and close when they like.
 */
import { closeFd, errnoName, SyscallError } from '@restitch/sys';
import {
  bindSocket,
  connectSocket,
  familyOf,
  getIntOption,
  getLocalAddress,
  getTcpInfo,
  openTcpSocket,
  pollEvent,
  pollFd,
  receiveBytes,
  sendBytes,
  sendUrgentByte,
  setBufferOption,
  setIntOption,
  shutdownSend,
  so,
  solSocket,
  solTcp,
  tcp,
  tcpState,
  unacknowledgedBytes,
} from '@restitch/sys/internal';

/** How to connect. */
export interface RawConnectionOptions {
  readonly address: string;
  readonly port: number;
  /** 0: any. */
  readonly localPort?: number;
  /** SO_RCVBUF, which the kernel doubles; left out: the kernel's own tuning. */
  readonly receiveBufferBytes?: number;
}

/** One connection. Nothing here throws for what the other side does: it is found in `error` and `isEof`. */
export class RawConnection {
  readonly localPort: number;
  /** Name of the error that ended it, as ECONNRESET. */
  error: string | undefined;
  isEof = false;
  isConnected = false;
  #fd: number;

  constructor(options: RawConnectionOptions) {
    const family = familyOf(options.address);
    this.#fd = openTcpSocket(family);
    setIntOption(this.#fd, solTcp, tcp.nodelay, 1);
    if (options.receiveBufferBytes !== undefined)
      setIntOption(this.#fd, solSocket, so.rcvbuf, options.receiveBufferBytes);
    if (options.localPort !== undefined && options.localPort > 0) {
      setIntOption(this.#fd, solSocket, so.reuseaddr, 1);
      const any = options.address.includes(':') ? '::' : '0.0.0.0';
      const { localPort } = options;
      this.#try(() => bindSocket(this.#fd, family, { address: any, port: localPort }));
    }
    if (this.error === undefined)
      this.#try(() => connectSocket(this.#fd, family, { address: options.address, port: options.port }));
    this.localPort = this.#try(() => getLocalAddress(this.#fd).port) ?? options.localPort ?? 0;
  }

  /** True until it was closed. */
  get isOpen(): boolean {
    return this.#fd >= 0;
  }

  /** Looks whether the handshake is over. */
  pollConnected(): void {
    if (this.isConnected || this.error !== undefined || !this.isOpen) return;
    const events = pollFd(this.#fd, pollEvent.out);
    if (events === 0) return;
    const code = getIntOption(this.#fd, solSocket, so.error);
    if (code === 0) this.isConnected = true;
    else this.error = errnoName(code);
  }

  /** Bytes read into `into`; 0 for none, see `isEof` and `error`. */
  read(into: Buffer): number {
    if (!this.isOpen || this.isEof || this.error !== undefined) return 0;
    const got = this.#try(() => receiveBytes(this.#fd, into)) ?? -1;
    if (got === 0) this.isEof = true;
    return Math.max(0, got);
  }

  /** Bytes the kernel took. */
  write(bytes: Uint8Array): number {
    if (!this.isOpen || this.error !== undefined) return 0;
    return this.#try(() => sendBytes(this.#fd, bytes)) ?? 0;
  }

  /** One byte as urgent data. */
  writeUrgent(byte: number): void {
    this.#try(() => sendUrgentByte(this.#fd, byte));
  }

  /** Sends a FIN. */
  endOutput(): void {
    this.#try(() => shutdownSend(this.#fd));
  }

  /** Bytes of ours, our FIN counted, that are not acknowledged; undefined if the kernel does not say any more. */
  get unacknowledged(): number | undefined {
    if (!this.isOpen) return undefined;
    this.#noteReset();
    return this.#try(() => unacknowledgedBytes(this.#fd));
  }

  /** Who only waits for acknowledgements reads and writes nothing that would fail. */
  #noteReset(): void {
    if (!this.isConnected || this.error !== undefined) return;
    if (this.#try(() => getTcpInfo(this.#fd).state) !== tcpState.close) return;
    // An end in order leaves none, and nothing unacknowledged.
    const code = this.#try(() => getIntOption(this.#fd, solSocket, so.error)) ?? 0;
    if (code !== 0) this.error = errnoName(code);
  }

  /** Sets an integer option. */
  setOption(level: number, name: number, value: number): void {
    this.#try(() => setIntOption(this.#fd, level, name, value));
  }

  /** SO_LINGER. Closing waits so long in the kernel, and with 0 it resets. */
  setLinger(seconds: number): void {
    const value = Buffer.alloc(8);
    value.writeInt32LE(1, 0);
    value.writeInt32LE(seconds, 4);
    this.#try(() => setBufferOption(this.#fd, solSocket, so.linger, value));
  }

  /** As a host that has lost its power: no packet says that it is gone. Needs CAP_NET_ADMIN. */
  vanish(): void {
    this.setOption(solTcp, tcp.repair, 1);
    this.close();
  }

  /** Gives the descriptor back. */
  close(): void {
    const fd = this.#fd;
    this.#fd = -1;
    if (fd >= 0) closeFd(fd);
  }

  #try<T>(call: () => T): T | undefined {
    try {
      return call();
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      this.error ??= errnoName(error.errno);
      return undefined;
    }
  }
}
