/**
 * What a session has of a net.Socket besides being a stream: addresses, timer, options. A base class, for it is the
 * surface that applications call, and holds nothing but the idle timer, which is set anew on each carrier.
 */
import { Duplex } from 'node:stream';
import type { Flow } from '@restitch/core';
import type { CarryingSocket } from './carrier.js';

/** A Duplex that may be taken for a net.Socket. */
export abstract class SocketLike extends Duplex {
  abstract readonly flow: Flow;
  /** True if its socket was adopted. */
  abstract readonly resumed: boolean;
  #timeoutMs = 0;

  /** @internal The socket that carries it now; undefined while it is frozen and once it has ended. */
  protected abstract get carryingSocket(): CarryingSocket | undefined;

  get remoteAddress(): string {
    return this.flow.client.address;
  }

  get remotePort(): number {
    return this.flow.client.port;
  }

  get remoteFamily(): 'IPv4' | 'IPv6' {
    return this.flow.client.address.includes(':') ? 'IPv6' : 'IPv4';
  }

  get localAddress(): string {
    return this.flow.vip.address;
  }

  get localPort(): number {
    return this.flow.vip.port;
  }

  /** As net.Socket. */
  address(): { address: string; family: 'IPv4' | 'IPv6'; port: number } {
    return { address: this.localAddress, family: this.remoteFamily, port: this.localPort };
  }

  /** Milliseconds of the idle timer, 0 if off. */
  get timeout(): number {
    return this.#timeoutMs;
  }

  /** As net.Socket: emits 'timeout' after this long without activity. Timers do not travel. */
  setTimeout(timeoutMs: number, onTimeout?: () => void): this {
    this.#timeoutMs = timeoutMs;
    this.carryingSocket?.setTimeout(timeoutMs);
    if (onTimeout !== undefined) {
      if (timeoutMs === 0) this.removeListener('timeout', onTimeout);
      else this.once('timeout', onTimeout);
    }
    return this;
  }

  /** As net.Socket. The option itself travels. */
  setNoDelay(noDelay = true): this {
    const socket = this.carryingSocket;
    // An adopted socket's cached flag may differ from the kernel's; going through the other value makes Node set it.
    if (this.resumed) socket?.setNoDelay(!noDelay);
    socket?.setNoDelay(noDelay);
    return this;
  }

  /** As net.Socket. The option itself travels, with the time already waited. */
  setKeepAlive(enable = false, initialDelayMs = 0): this {
    const socket = this.carryingSocket;
    if (this.resumed) socket?.setKeepAlive(!enable, initialDelayMs);
    socket?.setKeepAlive(enable, initialDelayMs);
    return this;
  }

  /** As net.Socket. */
  ref(): this {
    this.carryingSocket?.ref();
    return this;
  }

  /** As net.Socket. */
  unref(): this {
    this.carryingSocket?.unref();
    return this;
  }
}
