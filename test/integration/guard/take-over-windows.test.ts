/**
 * A buddy goes on from a checkpoint that is far behind the client in both directions, on the real kernel: its windows
 * must hold what the dead owner had promised, and what was lost must not wait for a fresh socket's timeout.
 */
import { randomBytes } from 'node:crypto';
import { addSeq, type Flow } from '@restitch/core';
import { closeFd } from '@restitch/sys';
import {
  familyOf,
  receiveBytes,
  sendBytes,
  getTcpInfo,
  setIntOption,
  shutdownSend,
  so,
  solSocket,
  tcpState,
  unacknowledgedBytes,
} from '@restitch/sys/internal';
import {
  attachGuard,
  attachWitness,
  createGuardControl,
  ensureGuardPins,
  type GuardControl,
  type GuardPins,
  removeGuardPins,
  type Witness,
} from '@restitch/guard/internal';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  activateSocket,
  type ActiveTcp,
  type CheckpointPositions,
  discardFrozenSocket,
  freezeSocket,
  imageFromCheckpoint,
  readRemainder,
  readTemplate,
  readTimeouts,
  rethawAsSent,
  thawSocket,
} from '../../../packages/endpoint/src/tcp/index.js';
import { type TcpTemplate } from '@restitch/wire/internal';
import { Settling } from '../../../packages/endpoint/src/protect/take-over.js';
import { openPair, pause, readExactly, waitFor, writeAll } from '../socket-pair.js';
import { createTwoEndpoints, type TwoEndpoints } from '../two-endpoints.js';
import { useBpfDirectory } from '../../bpf-directory.js';

const directory = `${useBpfDirectory()}/pins`;
const bufferBytes = 1024 * 1024;

let net: TwoEndpoints;
let pins: GuardPins;
let guard: GuardControl;

beforeAll(() => {
  net = createTwoEndpoints();
  pins = ensureGuardPins({ pinDirectory: directory });
  guard = createGuardControl(pins);
  net.inside('a', () => attachGuard(pins, 'eth0'));
});
afterAll(() => {
  pins?.close();
  removeGuardPins(directory);
  net?.close();
});

interface Gated {
  readonly client: number;
  readonly server: number;
  readonly flow: Flow;
  readonly template: TcpTemplate;
}

/** A connection whose ends may send a lot; both windows grow as they do, behind the template's back. */
async function openWide(version: '4' | '6'): Promise<Gated> {
  const widen = (fd: number): void => {
    setIntOption(fd, solSocket, so.sndbufForce, bufferBytes);
  };
  const { client, server, flow } = await openPair(net, version, {
    beforeListen: widen,
    beforeConnect: widen,
  });
  const at = { inputRead: 0, outputWritten: 0 };
  const template = readTemplate(server, familyOf(flow.vip.address), at, Date.now());
  return { client, server, flow, template };
}

/** From now on nothing behind the first `inputEnd` bytes is acknowledged to the client. */
function gate({ flow, template }: Gated, inputEnd: number): void {
  const committed = addSeq(template.clientStart, inputEnd);
  const { serverStart: sentEnd, rcvWscale: windowScale } = template;
  guard.register(flow, { epoch: 1, level: 'commit', lease: 0, committed, sentEnd, windowScale });
}

/** The owner is gone without a word, its buddy serves on b; `isUnsent`: and takes the output for what was never sent. */
function takeOver({ server, flow, template }: Gated, at: CheckpointPositions, isUnsent = false): ActiveTcp {
  net.steer('nowhere');
  freezeSocket(server);
  discardFrozenSocket(server);
  const image = imageFromCheckpoint(template, at, Date.now() + 1000);
  const sentBytes = isUnsent ? 0 : image.sentBytes;
  const pending = net.inside('b', () => thawSocket({ ...image, sentBytes }, flow));
  net.steer('b');
  return activateSocket(pending);
}

/** Looks on until it is settled. */
async function settle(active: ActiveTcp, flow: Flow, isLeased = (): boolean => true): Promise<ActiveTcp> {
  // Nothing the client says contradicts: it is only listened to.
  const attach = (fd: number): Witness => attachWitness(pins, fd, { clientSeq: 0, writeSeq: 0 });
  const settling = new Settling(active, flow, performance.now(), { attachWitness: attach, isLeased });
  let settled: ActiveTcp | undefined;
  await waitFor(() => {
    settled = net.inside('b', () => settling.look(performance.now()));
    return settled !== undefined;
  });
  return settled as unknown as ActiveTcp;
}

describe.each(['4', '6'] as const)('a take-over far behind the client over IPv%s', (version) => {
  it('goes on both ways', async () => {
    const gated = await openWide(version);
    const { client, server } = gated;
    const download = randomBytes(300_000);
    await writeAll(server, download);
    expect((await readExactly(client, download.length)).equals(download)).toBe(true);

    const upload = randomBytes(3_000_000);
    let written = 0;
    let inputEnd = 0;
    const heard = Buffer.alloc(upload.length);
    const pump = (): number => {
      written += sendBytes(client, upload.subarray(written, written + 65_536));
      inputEnd += Math.max(0, receiveBytes(server, heard.subarray(inputEnd)));
      return inputEnd;
    };
    // Long enough that the client keeps more in flight than a fresh socket's window.
    await waitFor(() => pump() > 1_000_000);
    const acknowledged = inputEnd;
    gate(gated, acknowledged);
    // The buddy has this; that it may be acknowledged was the owner's last commit, and never got out.
    await waitFor(() => pump() > acknowledged + 1500);
    await pause(50);
    written += sendBytes(client, upload.subarray(written));

    // What the client has acknowledged of the download was never told to the buddy.
    const { fd } = takeOver(gated, { inputEnd, finReceived: false, outputStart: 0, output: download });
    const [rest] = await Promise.all([
      readExactly(fd, upload.length - inputEnd, 20_000),
      writeAll(client, upload.subarray(written), 20_000),
    ]);
    expect(rest.equals(upload.subarray(inputEnd))).toBe(true);
    await waitFor(() => readRemainder(fd) === 0);
    await writeAll(fd, Buffer.from('thanks'));
    expect((await readExactly(client, 6)).toString()).toBe('thanks');
    closeFd(fd);
    closeFd(client);
  }, 60_000);

  it('sends a long tail that was lost again without a timeout', async () => {
    const gated = await openWide(version);
    const { client, server, flow } = gated;
    const promised = randomBytes(400_000);
    await writeAll(server, promised.subarray(0, 10_000));
    await readExactly(client, 10_000);
    const at = { inputEnd: 0, finReceived: false, outputStart: 5000, output: promised.subarray(5000) };
    const { fd, unsent } = await settle(takeOver(gated, at), flow);
    const [got] = await Promise.all([readExactly(client, 390_000), writeAll(fd, unsent)]);
    expect(got.equals(promised.subarray(10_000))).toBe(true);
    expect(readTimeouts(fd)).toBe(0);
    closeFd(fd);
    closeFd(client);
  }, 30_000);

  it('sends on as soon as a client that has stopped reading goes on', async () => {
    const gated = await openWide(version);
    const { client, server, flow } = gated;
    const promised = randomBytes(600_000);
    // As much as the client has room for; nothing of the rest was ever sent.
    let sent = 0;
    await waitFor(() => {
      const took = sendBytes(server, promised.subarray(sent, sent + 20_000));
      sent += Math.max(0, took);
      return took <= 0 || sent === promised.length;
    });
    await pause(300);
    const acknowledged = sent - unacknowledgedBytes(server);
    const at = {
      inputEnd: 0,
      finReceived: false,
      outputStart: acknowledged,
      output: promised.subarray(acknowledged),
    };
    const { fd, unsent } = await settle(takeOver(gated, at), flow);
    // Longer than anybody looks, and than the first timeout.
    await pause(4000);
    const beganMs = performance.now();
    const [got] = await Promise.all([readExactly(client, promised.length), writeAll(fd, unsent)]);
    expect(performance.now() - beganMs).toBeLessThan(1500);
    expect(got.equals(promised)).toBe(true);
    closeFd(fd);
    closeFd(client);
  }, 30_000);

  it.each([
    ['', false],
    [', both ends over', true],
  ])(
    'sends nothing in vain while the lease has lapsed, and at once when it is back%s',
    async (_what, isTail) => {
      const gated = await openWide(version);
      const { client, server, flow } = gated;
      const promised = randomBytes(400_000);
      await writeAll(server, promised.subarray(0, 10_000));
      await readExactly(client, 10_000);
      if (isTail) {
        shutdownSend(client);
        await waitFor(() => getTcpInfo(server).state === tcpState.closeWait);
      }
      const at = {
        inputEnd: 0,
        finReceived: isTail,
        outputStart: 5000,
        output: promised.subarray(5000),
        isEnded: isTail,
      };
      const active = takeOver(gated, at);
      await waitFor(() => readRemainder(active.fd) <= 390_001);
      // In the middle of it, for longer than a client is waited for.
      let isLeased = true;
      const settled = settle(active, flow, () => isLeased);
      await pause(5);
      isLeased = false;
      net.run('b', 'nft add table inet lapse');
      net.run('b', "nft add chain inet lapse out '{ type filter hook output priority 0; policy drop; }'");
      await pause(2500);
      net.run('b', 'nft delete table inet lapse');
      isLeased = true;
      const beganMs = performance.now();
      const { fd, unsent } = await settled;
      const [got] = await Promise.all([readExactly(client, 390_000), writeAll(fd, unsent)]);
      expect(performance.now() - beganMs).toBeLessThan(1500);
      expect(got.equals(promised.subarray(10_000))).toBe(true);
      closeFd(fd);
      closeFd(client);
    },
    30_000,
  );

  it('finds its way back when the client has more than it seemed', async () => {
    const gated = await openWide(version);
    const { client, server, flow } = gated;
    const promised = randomBytes(100_000);
    await writeAll(server, promised);
    await readExactly(client, promised.length);
    const at = { inputEnd: 0, finReceived: false, outputStart: 0, output: promised };
    const wrong = takeOver(gated, at, true);
    const unsent = wrong.unsent.subarray(sendBytes(wrong.fd, wrong.unsent));
    await pause(300);
    // The client's acknowledgements are ahead of what this socket has sent, and it is deaf to them.
    expect(unacknowledgedBytes(wrong.fd) + unsent.length).toBe(promised.length);
    const { fd } = net.inside('b', () => rethawAsSent({ fd: wrong.fd, unsent }, flow));
    await waitFor(() => readRemainder(fd) === 0);
    await writeAll(fd, Buffer.from('thanks'));
    expect((await readExactly(client, 6)).toString()).toBe('thanks');
    closeFd(fd);
    closeFd(client);
  }, 30_000);
});
