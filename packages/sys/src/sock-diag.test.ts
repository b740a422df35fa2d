import { once } from 'node:events';
import { type AddressInfo, type Socket, connect, createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { destroyTcpSocket, findTcpSocket, listTcpSockets, parseListedSocket } from './sock-diag.js';
import { tcpState } from './tcp-info.js';

async function openLoopback(run: (client: Socket) => Promise<void>): Promise<void> {
  const server = createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  await once(client, 'connect');
  try {
    await run(client);
  } finally {
    client.destroy();
    server.close();
  }
}

describe('the list of sockets', () => {
  it('has a connection and its listener, and not another', () =>
    openLoopback(async (client) => {
      const local = { address: '127.0.0.1', port: client.localPort ?? 0 };
      const remote = { address: '127.0.0.1', port: client.remotePort ?? 0 };
      expect(findTcpSocket(local, remote)).toMatchObject({
        state: tcpState.established,
        local,
        remote,
        hasMd5: false,
      });
      expect(findTcpSocket(local, { ...remote, port: 1 })).toBeUndefined();
      expect(listTcpSockets([tcpState.listen]).map((s) => s.local)).toContainEqual(remote);
      expect(listTcpSockets([tcpState.established]).map((s) => s.local)).toContainEqual(local);
    }));

  it('a destroyed connection tells its process at once', () =>
    openLoopback(async (client) => {
      const local = { address: '127.0.0.1', port: client.localPort ?? 0 };
      const remote = { address: '127.0.0.1', port: client.remotePort ?? 0 };
      const failed = once(client, 'error');
      expect(destroyTcpSocket(local, remote)).toBe(true);
      expect((await failed)[0]).toMatchObject({ code: 'ECONNABORTED' });
      expect(destroyTcpSocket(local, remote)).toBe(false);
    }));

  it('takes no listener for a connection that has gone', () =>
    openLoopback(async (client) => {
      const listener = { address: '127.0.0.1', port: client.remotePort ?? 0 };
      const gone = { address: '127.0.0.1', port: 1 };
      expect(findTcpSocket(listener, gone)).toBeUndefined();
      expect(destroyTcpSocket(listener, gone)).toBe(false);
      const next = connect(listener.port, listener.address);
      await once(next, 'connect');
      next.destroy();
    }));

  it('destroys the connection that was listed, and not a later one on the same ports', () =>
    openLoopback(async (client) => {
      const local = { address: '127.0.0.1', port: client.localPort ?? 0 };
      const remote = { address: '127.0.0.1', port: client.remotePort ?? 0 };
      const listed = findTcpSocket(local, remote);
      expect(listed?.cookie).toHaveLength(8);
      expect(destroyTcpSocket(local, remote, Buffer.from('0102030405060708', 'hex'))).toBe(false);
      const failed = once(client, 'error');
      expect(destroyTcpSocket(local, remote, listed?.cookie)).toBe(true);
      await failed;
    }));

  it('an entry is read by its offsets', () => {
    const message = Buffer.alloc(80);
    message.writeUInt8(2, 0);
    message.writeUInt8(tcpState.established, 1);
    message.writeUInt16BE(7000, 4);
    message.writeUInt16BE(40_000, 6);
    message.set([10, 0, 0, 1], 8);
    message.set([10, 0, 0, 2], 24);
    message.set([1, 2, 3, 4, 5, 6, 7, 8], 44);
    message.writeUInt32LE(5, 56);
    message.writeUInt32LE(6, 60);
    message.writeUInt32LE(77, 68);
    message.writeUInt16LE(8, 72);
    message.writeUInt16LE(18, 74);
    expect(parseListedSocket(message)).toEqual({
      state: 1,
      local: { address: '10.0.0.1', port: 7000 },
      remote: { address: '10.0.0.2', port: 40_000 },
      receiveQueueBytes: 5,
      sendQueueBytes: 6,
      inode: 77,
      cookie: Buffer.from([1, 2, 3, 4, 5, 6, 7, 8]),
      hasMd5: true,
      hasUlp: false,
    });
  });
});
