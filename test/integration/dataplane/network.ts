/**
 * A switch with an access point, a client and two endpoints, each in its own network namespace:
 * 10.77.0.0/24 and fd77::/64, the VIPs 10.77.0.100 and fd77::100 on the access point and on the endpoints' lo.
 */
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Parties and their last address byte. */
const parties = { ap: 1, client: 2, a: 11, b: 12 } as const;
type Party = keyof typeof parties;

export const vip4 = '10.77.0.100';
export const vip6 = 'fd77::100';

export interface TestNetwork {
  readonly prefix: string;
  namespace(party: Party): string;
  address(party: Party, family?: 4 | 6): string;
  /** `ip` inside a party's namespace. */
  ip(party: Party | 'sw', ...args: string[]): string;
  /** The peer program in a party's namespace. */
  peer(party: Party): Peer;
  down(): void;
}

/** Builds it; `down` takes it away and ends the peers. */
export function upTestNetwork(tag: string): TestNetwork {
  const prefix = `rs${process.pid}-${tag}`;
  const peers: Peer[] = [];
  const namespaces = ['sw', ...Object.keys(parties)].map((name) => `${prefix}-${name}`);
  const run = (command: string, args: readonly string[]): string =>
    execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  const down = (): void => {
    for (const peer of peers) peer.stop();
    for (const namespace of namespaces) {
      try {
        run('ip', ['netns', 'del', namespace]);
      } catch {
        // Was never made.
      }
    }
  };
  const batch = (namespace: string, lines: readonly string[]): void => {
    execFileSync('ip', ['-n', namespace, '-batch', '-'], {
      input: lines.join('\n'),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
  };
  try {
    for (const namespace of namespaces) run('ip', ['netns', 'add', namespace]);
    batch(`${prefix}-sw`, ['link add br0 type bridge forward_delay 0', 'link set br0 up', 'link set lo up']);
    for (const [party, last] of Object.entries(parties)) addParty(prefix, party, last, batch, run);
  } catch (error) {
    down();
    throw error;
  }
  const namespace = (party: Party): string => `/run/netns/${prefix}-${party}`;
  return {
    prefix,
    namespace,
    address: (party, family = 4) => (family === 4 ? `10.77.0.${parties[party]}` : `fd77::${parties[party]}`),
    ip: (party, ...args) => run('ip', ['-n', `${prefix}-${party}`, ...args]),
    peer(party) {
      const peer = startPeer(namespace(party));
      peers.push(peer);
      return peer;
    },
    down,
  };
}

function addParty(
  prefix: string,
  party: string,
  last: number,
  batch: (namespace: string, lines: readonly string[]) => void,
  run: (command: string, args: readonly string[]) => string,
): void {
  const own = `${prefix}-${party}`;
  const isEndpoint = last > 10;
  batch(`${prefix}-sw`, [
    `link add p-${party} type veth peer name eth0 netns ${own}`,
    `link set p-${party} master br0 up`,
  ]);
  const set = (key: string, value: number): void =>
    void run('nsenter', [`--net=/run/netns/${own}`, 'sysctl', '-qw', `net.${key}=${value}`]);
  if (isEndpoint) {
    set('ipv4.conf.all.arp_ignore', 1);
    set('ipv4.conf.all.arp_announce', 2);
  }
  batch(own, [
    'link set lo up',
    'link set eth0 up',
    `addr add 10.77.0.${last}/24 dev eth0`,
    `addr add fd77::${last}/64 dev eth0 nodad`,
    ...(party === 'client'
      ? []
      : [
          `addr add ${vip4}/32 dev ${isEndpoint ? 'lo' : 'eth0'}`,
          `addr add ${vip6}/128 dev ${isEndpoint ? 'lo' : 'eth0'} nodad`,
        ]),
  ]);
}

/** A process in a namespace that serves and connects on request. */
export interface Peer {
  readonly process: ChildProcess;
  ask(request: Record<string, unknown>): Promise<unknown>;
  stop(): void;
}

function startPeer(namespace: string): Peer {
  const script = fileURLToPath(new URL('peer.mjs', import.meta.url));
  const child = spawn('nsenter', [`--net=${namespace}`, process.execPath, script], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  let next = 0;
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  child.on('message', (message: { id: number; error?: string; value?: unknown }) => {
    const call = waiting.get(message.id);
    waiting.delete(message.id);
    if (message.error === undefined) call?.resolve(message.value);
    else call?.reject(new Error(message.error));
  });
  child.on('exit', () => {
    for (const call of waiting.values()) call.reject(new Error('peer ended'));
  });
  return {
    process: child,
    ask(request) {
      const id = ++next;
      return new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject });
        child.send({ id, ...request });
      });
    },
    stop: () => void child.kill('SIGKILL'),
  };
}
