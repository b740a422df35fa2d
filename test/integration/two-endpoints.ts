/**
 * A network for freeze and thaw: a client namespace with a bridge, two endpoint namespaces that both carry the VIP on
 * `lo`. Steering is the client's own static neighbour entry: no daemon, no BPF.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { inNetworkNamespace } from '@restitch/sys';

/** One of the two endpoints. */
export type EndpointName = 'a' | 'b';

/** The network; `close` takes it down. */
export interface TwoEndpoints {
  /** Names below /run/netns. */
  readonly namespaces: Readonly<Record<EndpointName | 'client', string>>;
  readonly vip4: string;
  readonly vip6: string;
  readonly client4: string;
  readonly client6: string;
  /** A namespace's file, for nsenter. */
  namespacePath(where: EndpointName | 'client'): string;
  /** Runs synchronous code in a namespace. */
  inside<T>(where: EndpointName | 'client', fn: () => T): T;
  /** From now on the client's packets for the VIP go to this endpoint, or are lost. */
  steer(to: EndpointName | 'nowhere'): void;
  /** Runs a command line in a namespace and returns its output. */
  run(where: EndpointName | 'client', command: string): string;
  /** Packets an endpoint has put on the wire so far, without ARP and neighbour discovery. */
  sentPackets(where: EndpointName): number;
  close(): void;
}

let made = 0;

/** Takes down what test processes that were killed have left. */
function removeAbandoned(): void {
  for (const name of readdirSync('/run/netns')) {
    const pid = /^rsf(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) spawnSync('ip', ['netns', 'del', name]);
  }
}

/** Builds the network under names unique to this process. */
export function createTwoEndpoints(): TwoEndpoints {
  if (existsSync('/run/netns')) removeAbandoned();
  const prefix = `rsf${process.pid}-${++made}`;
  const ns = { client: `${prefix}c`, a: `${prefix}a`, b: `${prefix}b` };
  const net = { vip4: '10.9.0.100', vip6: 'fd09::100', client4: '10.9.0.1', client6: 'fd09::1' };
  const mac = { a: '02:09:00:00:00:0a', b: '02:09:00:00:00:0b', nowhere: '02:09:00:00:00:ff' };
  const sh = (script: string): string => execFileSync('sh', ['-ec', script], { encoding: 'utf8' });
  const close = (): void => {
    for (const name of Object.values(ns)) sh(`ip netns del ${name} 2>/dev/null || true`);
  };
  const steer = (to: EndpointName | 'nowhere'): void => {
    sh(
      `nsenter --net=/run/netns/${ns.client} ip -batch - <<X
neigh replace ${net.vip4} lladdr ${mac[to]} dev br0 nud permanent
neigh replace ${net.vip6} lladdr ${mac[to]} dev br0 nud permanent
X`,
    );
  };
  try {
    sh(buildScript(ns, net, mac));
    steer('a');
  } catch (error) {
    close();
    throw error;
  }
  return {
    ...net,
    namespaces: ns,
    namespacePath: (where) => `/run/netns/${ns[where]}`,
    inside: (where, fn) => inNetworkNamespace(`/run/netns/${ns[where]}`, fn),
    steer,
    run: (where, command) => sh(`nsenter --net=/run/netns/${ns[where]} ${command}`),
    sentPackets: (where) =>
      Number(
        /packets (\d+)/.exec(sh(`nsenter --net=/run/netns/${ns[where]} nft list table inet count`))?.[1],
      ),
    close,
  };
}

function buildScript(
  ns: Record<EndpointName | 'client', string>,
  net: Pick<TwoEndpoints, 'vip4' | 'vip6' | 'client4' | 'client6'>,
  mac: Record<EndpointName, string>,
): string {
  const lines = [
    `ip netns add ${ns.client}`,
    `ip -n ${ns.client} link add br0 type bridge mcast_snooping 0`,
    `nsenter --net=/run/netns/${ns.client} sysctl -qw net.ipv6.conf.br0.accept_dad=0`,
    `ip -n ${ns.client} link set br0 up`,
    `ip -n ${ns.client} link set lo up`,
    `ip -n ${ns.client} addr add ${net.client4}/24 dev br0`,
    `ip -n ${ns.client} addr add ${net.client6}/64 dev br0 nodad`,
  ];
  for (const [i, name] of (['a', 'b'] as const).entries()) {
    const own = ns[name];
    lines.push(
      `ip netns add ${own}`,
      `ip -n ${own} link set lo up`,
      `ip -n ${own} link add eth0 address ${mac[name]} type veth peer name p${name} netns ${ns.client}`,
      `ip -n ${ns.client} link set p${name} master br0 up`,
      `nsenter --net=/run/netns/${own} sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2 net.ipv6.conf.eth0.accept_dad=0`,
      `ip -n ${own} link set eth0 up`,
      `ip -n ${own} addr add 10.9.0.${2 + i}/24 dev eth0`,
      `ip -n ${own} addr add fd09::${2 + i}/64 dev eth0 nodad`,
      `ip -n ${own} addr add ${net.vip4}/32 dev lo`,
      `ip -n ${own} addr add ${net.vip6}/128 dev lo nodad`,
      `nsenter --net=/run/netns/${own} nft -f - <<X
table inet count {
  chain out { type filter hook postrouting priority 0; oifname "eth0" meta l4proto tcp counter; }
}
X`,
    );
  }
  return lines.join('\n');
}
