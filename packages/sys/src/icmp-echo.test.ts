/** Echo over two real namespaces, IPv4 and IPv6, with loss made by nftables. */
import { execFileSync } from 'node:child_process';
import { afterEach, describe, expect, it } from 'vitest';
import { type IcmpEcho, openIcmpEcho } from './icmp-echo.js';
import { inNetworkNamespace } from './network-namespace.js';

const cleanups: Array<() => void> = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** This end and the other, joined by a veth; returns an echo that lives here, and a way to run commands there. */
function twoHosts(): {
  echo: IcmpEcho;
  send(to: string, n: number): number | undefined;
  there(...c: string[]): void;
} {
  const id = `rs${process.pid}-${Math.random().toString(36).slice(2, 6)}`;
  const run = (...command: string[]): void => void execFileSync(command[0] ?? '', command.slice(1));
  for (const end of ['h', 't']) {
    run('ip', 'netns', 'add', `${id}${end}`);
    cleanups.push(() => run('ip', 'netns', 'del', `${id}${end}`));
  }
  run('ip', '-n', `${id}h`, 'link', 'add', 'e0', 'type', 'veth', 'peer', 'name', 'e0', 'netns', `${id}t`);
  for (const [end, last] of [
    ['h', 1],
    ['t', 2],
  ] as const) {
    run('ip', '-n', `${id}${end}`, 'addr', 'add', `10.8.0.${last}/24`, 'dev', 'e0');
    run('ip', '-n', `${id}${end}`, 'addr', 'add', `fd08::${last}/64`, 'dev', 'e0', 'nodad');
    run('ip', '-n', `${id}${end}`, 'link', 'set', 'e0', 'up');
  }
  const echo = openIcmpEcho();
  cleanups.push(() => echo.close());
  const here = `/run/netns/${id}h`;
  return {
    echo,
    send: (to, n) => inNetworkNamespace(here, () => echo.send(to, n)),
    there: (...command) => run('nsenter', `--net=/run/netns/${id}t`, ...command),
  };
}

describe.runIf(process.getuid?.() === 0)('icmp echo', () => {
  it.each(['10.8.0.2', 'fd08::2'])(
    'to %s is answered by the kernel, and stamped when the reply came',
    async (to) => {
      const { echo, send } = twoHosts();
      // The first finds the neighbour (IPv6: once the link is up), and turns stamping on.
      for (let i = 0, isUp = false; i < 100 && !isUp; i++) {
        send(to, 1);
        await sleep(50);
        isUp = echo.receive().length > 0;
      }
      await sleep(50);
      echo.receive();
      const sentUs = send(to, 2) ?? Number.NaN;
      await sleep(300);
      const replies = echo.receive();
      expect(replies.map((r) => r.sequence)).toEqual([2]);
      const rttUs = (replies[0]?.receivedUs ?? Number.NaN) - sentUs;
      expect(rttUs).toBeGreaterThan(0);
      // Fetched 300 ms later, but stamped on arrival.
      expect(rttUs).toBeLessThan(250_000);
    },
  );

  it('loses what the path loses, and takes nobody else’s replies', async () => {
    const { echo, send, there } = twoHosts();
    there(
      'nft',
      'add table inet t; add chain inet t in { type filter hook input priority 0; }; add rule inet t in icmp type echo-request numgen inc mod 2 0 drop',
    );
    const other = openIcmpEcho();
    cleanups.push(() => other.close());
    for (let n = 1; n <= 20; n++) send('10.8.0.2', n);
    await sleep(200);
    expect(other.receive()).toEqual([]);
    expect(echo.receive()).toHaveLength(10);
  });

  it('without a route is told at once', () => {
    const { send } = twoHosts();
    expect(send('10.99.0.1', 1)).toBeUndefined();
  });
});
