/** A client and a server socket of one connection across the test network, as bare descriptors. */
import type { Flow } from '@restitch/core';
import { closeFd } from '@restitch/sys';
import {
  acceptSocket,
  afInet6,
  bindSocket,
  connectSocket,
  familyOf,
  getLocalAddress,
  getTcpInfo,
  listenSocket,
  openTcpSocket,
  receiveBytes,
  sendBytes,
  setIntOption,
  shutdownSend,
  so,
  solSocket,
  tcpState,
} from '@restitch/sys/internal';
import {
  type ActiveTcp,
  type PendingTcp,
  activateSocket,
  discardFrozenSocket,
  freezeSocket,
  probeClient,
  readConfirmation,
  thawSocket,
  unfreezeSocket,
} from '../../packages/endpoint/src/tcp/index.js';
import type { EndpointName, TwoEndpoints } from './two-endpoints.js';

/** Both ends; the server's is on endpoint a. */
export interface SocketPair {
  readonly client: number;
  readonly server: number;
  readonly flow: Flow;
}

/** Options of the two ends, set before the handshake. */
export interface PairOptions {
  /** Listens on `::` for both families, as Node does by default. */
  readonly isDualStack?: boolean;
  readonly beforeListen?: (fd: number) => void;
  readonly beforeConnect?: (fd: number) => void;
}

/** Opens a connection from the client namespace to the VIP, served by endpoint a. */
export async function openPair(
  net: TwoEndpoints,
  version: '4' | '6',
  options: PairOptions = {},
): Promise<SocketPair> {
  net.steer('a');
  const address = version === '4' ? net.vip4 : net.vip6;
  const family = familyOf(address);
  const listener = net.inside('a', () => {
    const listenFamily = options.isDualStack === true ? afInet6 : family;
    const fd = openTcpSocket(listenFamily);
    setIntOption(fd, solSocket, so.reuseaddr, 1);
    options.beforeListen?.(fd);
    bindSocket(fd, listenFamily, { address: options.isDualStack === true ? '::' : address, port: 0 });
    listenSocket(fd, 16);
    return fd;
  });
  const vip = { address, port: getLocalAddress(listener).port };
  const client = net.inside('client', () => openTcpSocket(family));
  options.beforeConnect?.(client);
  connectSocket(client, family, vip);
  await waitFor(() => getTcpInfo(client).state === tcpState.established);
  let server: number | undefined;
  await waitFor(() => (server = acceptSocket(listener)) !== undefined);
  closeFd(listener);
  return { client, server: server as unknown as number, flow: { client: getLocalAddress(client), vip } };
}

/** Waits until `condition` holds; fails after `limitMs`. */
export async function waitFor(condition: () => boolean, limitMs = 10_000): Promise<void> {
  const end = Date.now() + limitMs;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited ${limitMs} ms in vain for ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Lets time pass, where the test is that nothing happens in it. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Reads exactly so many bytes. */
export async function readExactly(fd: number, bytes: number, limitMs = 10_000): Promise<Buffer> {
  const all = Buffer.alloc(bytes);
  let done = 0;
  await waitFor(() => {
    for (;;) {
      const got = receiveBytes(fd, all.subarray(done));
      if (got <= 0) break;
      done += got;
      if (done === bytes) return true;
    }
    return done === bytes;
  }, limitMs);
  return all;
}

/** Reads to the end of the stream. */
export async function readToEnd(fd: number, limitMs = 10_000): Promise<Buffer> {
  const parts: Buffer[] = [];
  const chunk = Buffer.alloc(1 << 20);
  await waitFor(() => {
    for (;;) {
      const got = receiveBytes(fd, chunk);
      if (got === 0) return true;
      if (got < 0) return false;
      parts.push(Buffer.from(chunk.subarray(0, got)));
    }
  }, limitMs);
  return Buffer.concat(parts);
}

/** Writes all, waiting for room. */
export async function writeAll(fd: number, data: Buffer, limitMs = 10_000): Promise<void> {
  let done = 0;
  await waitFor(() => {
    while (done < data.length) {
      const taken = sendBytes(fd, data.subarray(done));
      if (taken === 0) return false;
      done += taken;
    }
    return true;
  }, limitMs);
}

/** Moves a session between the endpoints as a coordinator would, without a hold: what the client sends meanwhile is lost. */
export function moveSocket(net: TwoEndpoints, fd: number, flow: Flow, to: EndpointName): ActiveTcp {
  const frozen = freezeSocket(fd);
  let pending: PendingTcp;
  try {
    pending = net.inside(to, () => thawSocket(frozen.tcp, flow));
  } catch (error) {
    unfreezeSocket(fd);
    throw error;
  }
  net.steer(to);
  const active = activateSocket(pending);
  discardFrozenSocket(frozen.fd);
  return active;
}

/** Writes what the source's kernel had not sent, and its FIN if that waited behind. */
export async function writeUnsent(active: ActiveTcp): Promise<void> {
  await writeAll(active.fd, active.unsent);
  if (active.endAfterUnsent) shutdownSend(active.fd);
}

/** Waits until the client was heard, asking it again as long as it may be limited in its answers. */
export async function confirmed(active: ActiveTcp): Promise<void> {
  let asked = Date.now();
  await waitFor(() => {
    if (Date.now() - asked > 300) {
      asked = Date.now();
      probeClient(active.fd);
    }
    return readConfirmation(active).isConfirmed;
  });
}
