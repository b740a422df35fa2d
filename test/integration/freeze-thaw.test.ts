import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { closeFd } from '@restitch/sys';
import { getTcpInfo, receiveBytes, sendBytes } from '@restitch/sys/internal';
import {
  activateSocket,
  discardFrozenSocket,
  freezeSocket,
  inspectSocket,
  readConfirmation,
  thawSocket,
} from '../../packages/endpoint/src/tcp/index.js';
import { openPair, readExactly, waitFor } from './socket-pair.js';
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
    await waitFor(() => readConfirmation(active).isConfirmed);
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
