import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { closeFd } from './fd.js';
import { afInet, afInet6 } from './socket-address.js';
import { attachDropFilter, blockOutput, detachFilter, unblockOutput } from './socket-block.js';
import { connectSocket, openTcpSocket, receiveBytes, sendBytes } from './socket.js';
import { getTcpInfo } from './tcp-info.js';

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A raw client of a Node server on loopback. */
async function openClient(family: number, run: (fd: number, peer: Socket) => Promise<void>): Promise<void> {
  const server = createServer().listen(0, '::');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const fd = openTcpSocket(family);
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  connectSocket(fd, family, { address: '127.0.0.1', port });
  const [peer] = await accepted;
  try {
    await run(fd, peer);
  } finally {
    closeFd(fd);
    peer.destroy();
    server.close();
  }
}

describe.each([
  ['IPv4', afInet],
  ['IPv4 on an IPv6 socket', afInet6],
])('a blocked socket, %s', (_, family) => {
  it('hears nothing until the filter is off', () =>
    openClient(family, async (fd, peer) => {
      attachDropFilter(fd);
      const heard = getTcpInfo(fd).segsIn;
      peer.write('hello');
      await pause(30);
      expect(getTcpInfo(fd).segsIn).toBe(heard);
      detachFilter(fd);
      detachFilter(fd);
      const into = Buffer.alloc(5);
      while (receiveBytes(fd, into) < 0) await pause(5);
      expect(into.toString()).toBe('hello');
    }));

  it('says nothing until its output is free', () =>
    openClient(family, async (fd, peer) => {
      let got = '';
      peer.on('data', (data) => (got += data.toString()));
      expect(blockOutput(fd, family, afInet)).toBe(true);
      expect(sendBytes(fd, Buffer.from('hello'))).toBe(5);
      await pause(250);
      expect(got).toBe('');
      unblockOutput(fd, family);
      await once(peer, 'data');
      expect(got).toBe('hello');
    }));
});
