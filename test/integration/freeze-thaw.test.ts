import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { deserialize, serialize } from 'node:v8';
import { systemClock } from '@restitch/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { closeFd } from '@restitch/sys';
import { getTcpInfo, receiveBytes, sendBytes, shutdownSend, tcpState } from '@restitch/sys/internal';
import {
  activateSocket,
  discardFrozenSocket,
  freezeSocket,
  inspectSocket,
  thawSocket,
} from '../../packages/endpoint/src/tcp/index.js';
import { confirmed, moveSocket, openPair, readExactly, readToEnd, waitFor } from './socket-pair.js';
import { type TwoEndpoints, createTwoEndpoints } from './two-endpoints.js';

let net: TwoEndpoints;
beforeAll(() => {
  net = createTwoEndpoints();
});
afterAll(() => net?.close());

describe.each(['4', '6'] as const)('a session over IPv%s', (version) => {
  it('moves with unread bytes and answers its client', async () => {
    const pair = await openPair(net, version);
    sendBytes(pair.client, Buffer.from('hello'));
    await waitFor(() => inspectSocket(pair.server).unreadBytes === 5);
    const frozen = freezeSocket(pair.server);
    const pending = net.inside('b', () => thawSocket(frozen.tcp, pair.flow));
    net.steer('b');
    const active = activateSocket(pending);
    expect(await readExactly(active.fd, 5)).toEqual(Buffer.from('hello'));
    await confirmed(active);
    discardFrozenSocket(frozen.fd);
    sendBytes(active.fd, Buffer.from('world'));
    expect(await readExactly(pair.client, 5)).toEqual(Buffer.from('world'));
    sendBytes(pair.client, Buffer.from('again'));
    expect(await readExactly(active.fd, 5)).toEqual(Buffer.from('again'));
    expect(getTcpInfo(pair.client).totalRetrans).toBe(0);
    expect(receiveBytes(active.fd, Buffer.alloc(1))).toBe(-1);
    closeFd(active.fd);
    closeFd(pair.client);
  });
});

describe('under load', () => {
  it('every byte of an echo comes back once and in order through twenty moves', async () => {
    const pair = await openPair(net, '4');
    const clock = systemClock;
    let server = pair.server;
    let toEcho = Buffer.alloc(0);
    /** Echoes what the server has; both directions are under way at any time. */
    const echo = (): void => {
      const chunk = Buffer.alloc(65_536);
      const got = receiveBytes(server, chunk);
      if (got > 0) toEcho = Buffer.concat([toEcho, chunk.subarray(0, got)]);
      toEcho = toEcho.subarray(sendBytes(server, toEcho));
    };
    const sent = createHash('sha256');
    const received = createHash('sha256');
    let sentBytes = 0;
    let receivedBytes = 0;
    const drive = (isSending: boolean): void => {
      const data = randomBytes(1 + Math.floor(Math.random() * 20_000));
      const taken = isSending ? sendBytes(pair.client, data) : 0;
      sent.update(data.subarray(0, taken));
      sentBytes += taken;
      const chunk = Buffer.alloc(65_536);
      const got = receiveBytes(pair.client, chunk);
      if (got > 0) {
        received.update(chunk.subarray(0, got));
        receivedBytes += got;
      }
      echo();
    };
    for (let move = 0; move < 20; move++) {
      const until = clock.monotonicMs() + 40;
      await waitFor(() => (drive(true), clock.monotonicMs() > until));
      const active = moveSocket(net, server, pair.flow, move % 2 === 0 ? 'b' : 'a');
      server = active.fd;
      toEcho = Buffer.concat([active.unsent, toEcho]);
    }
    await waitFor(() => (drive(false), receivedBytes === sentBytes));
    expect(sentBytes).toBeGreaterThan(100_000);
    expect(received.digest('hex')).toBe(sent.digest('hex'));
    closeFd(server);
    closeFd(pair.client);
  });
});

describe('a process with CAP_NET_ADMIN and nothing else', () => {
  /** Runs a script on descriptor 3 (if given) inside a namespace, as nobody. */
  const asNobody = (where: 'a' | 'b', script: string, input: unknown, fd?: number): Buffer => {
    const engine = new URL('../../packages/endpoint/dist/tcp/index.js', import.meta.url).href;
    const code = `
      const { readFileSync } = await import('node:fs');
      const { deserialize, serialize } = await import('node:v8');
      const engine = await import(${JSON.stringify(engine)});
      const input = deserialize(readFileSync(0));
      const result = await (async () => { ${script} })();
      process.stdout.write(serialize(result));`;
    return execFileSync(
      'nsenter',
      [
        `--net=/run/netns/${net.namespaces[where]}`,
        'setpriv',
        '--reuid=65534',
        '--clear-groups',
        '--bounding-set=-all,+net_admin',
        '--inh-caps=-all,+net_admin',
        '--ambient-caps=-all,+net_admin',
        process.execPath,
        '--input-type=module',
        '-e',
        code,
      ],
      { input: serialize(input), stdio: ['pipe', 'pipe', 'inherit', ...(fd === undefined ? [] : [fd])] },
    );
  };

  it.each(['4', '6'] as const)('freezes and thaws a half-closed session over IPv%s', async (version) => {
    const pair = await openPair(net, version);
    sendBytes(pair.client, Buffer.from('request'));
    shutdownSend(pair.client);
    await waitFor(() => getTcpInfo(pair.server).state === tcpState.closeWait);
    const image = deserialize(
      asNobody('a', 'engine.inspectSocket(3); return engine.freezeSocket(3).tcp', null, pair.server),
    );
    expect(Buffer.from(image.recvQueue).toString()).toBe('request');
    discardFrozenSocket(pair.server);
    net.steer('b');
    const answering = `
      const pending = engine.thawSocket(input.image, input.flow);
      const { fd } = engine.activateSocket(pending);
      const { Socket } = await import('node:net');
      const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
      let got = '';
      socket.on('data', (data) => (got += data));
      await new Promise((done) => socket.once('end', done));
      await new Promise((done) => socket.end('answer', done));
      return got;`;
    const got = deserialize(asNobody('b', answering, { image, flow: pair.flow }));
    expect(got).toBe('request');
    expect(await readToEnd(pair.client)).toEqual(Buffer.from('answer'));
    closeFd(pair.client);
  });
});
