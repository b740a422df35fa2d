/** Keeps the measurement of `bench` alive; how much it is depends on the machine and is not judged here. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { closeFd } from '@restitch/sys';
import { sendBytes } from '@restitch/sys/internal';
import { measureMoveCpu } from '../../packages/lab/src/bench/measure-move-cpu.js';
import { openPair, readExactly } from './socket-pair.js';
import { type TwoEndpoints, createTwoEndpoints } from './two-endpoints.js';

let net: TwoEndpoints;
beforeAll(() => {
  net = createTwoEndpoints();
});
afterAll(() => net?.close());

it('a session that was moved a thousand times still serves, and each move was paid for', async () => {
  const pair = await openPair(net, '4');
  net.steer('nowhere');
  const cost = measureMoveCpu({
    fd: pair.server,
    flow: pair.flow,
    places: [(fn) => net.inside('b', fn), (fn) => net.inside('a', fn)],
    moves: 800,
  });
  expect(cost.hostCpuUs.p50).toBeGreaterThan(cost.freezeUs.p50);
  expect(cost.hostCpuUs.p99).toBeGreaterThanOrEqual(cost.hostCpuUs.p50);
  net.steer('a');
  sendBytes(pair.client, Buffer.from('hello'));
  expect(await readExactly(cost.fd, 5)).toEqual(Buffer.from('hello'));
  closeFd(cost.fd);
  closeFd(pair.client);
});
