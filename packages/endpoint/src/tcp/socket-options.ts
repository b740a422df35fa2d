/**
 * The socket options that travel with a session, one row each, under the names they have in an image.
 *
 * Setting all of them costs more than the rest of a thaw, so only those that differ from a fresh socket of this
 * process are set. Buffer sizes, the window clamp and the timers have their own step in `thaw-socket.ts`.
 */
import { closeFd } from '@restitch/sys';
import {
  afInet,
  afInet6,
  getBufferOption,
  getIntOption,
  getIntOptionIfKnown,
  ip,
  ipv6,
  openTcpSocket,
  setBufferOption,
  setIntOption,
  so,
  solIp,
  solIpv6,
  solSocket,
  solTcp,
  tcp,
} from '@restitch/sys/internal';

/** Option values as an image carries them; units are the kernel's, linger is on·2^16 + seconds. */
export type SocketOptions = Readonly<Record<string, number>>;

interface OptionRow {
  readonly name: string;
  readonly level: number;
  readonly number: number;
  /** Only on sockets of this family. */
  readonly family?: number;
  /** When thaw sets it: with the others, or in a step of its own. */
  readonly step: 'plain' | 'own';
}

const rows: readonly OptionRow[] = [
  { name: 'nodelay', level: solTcp, number: tcp.nodelay, step: 'plain' },
  { name: 'cork', level: solTcp, number: tcp.cork, step: 'own' },
  { name: 'linger2', level: solTcp, number: tcp.linger2, step: 'plain' },
  { name: 'notsentLowat', level: solTcp, number: tcp.notsentLowat, step: 'plain' },
  { name: 'rcvlowat', level: solSocket, number: so.rcvlowat, step: 'plain' },
  { name: 'priority', level: solSocket, number: so.priority, step: 'plain' },
  { name: 'mark', level: solSocket, number: so.mark, step: 'plain' },
  { name: 'maxPacingRate', level: solSocket, number: so.maxPacingRate, step: 'plain' },
  { name: 'oobinline', level: solSocket, number: so.oobinline, step: 'plain' },
  { name: 'tos', level: solIp, number: ip.tos, step: 'plain' },
  { name: 'ttl', level: solIp, number: ip.ttl, step: 'plain' },
  { name: 'tclass', level: solIpv6, number: ipv6.tclass, family: afInet6, step: 'plain' },
  { name: 'hops', level: solIpv6, number: ipv6.unicastHops, family: afInet6, step: 'plain' },
  { name: 'v6only', level: solIpv6, number: ipv6.v6only, family: afInet6, step: 'own' },
  { name: 'keepalive', level: solSocket, number: so.keepalive, step: 'own' },
  { name: 'keepidle', level: solTcp, number: tcp.keepidle, step: 'plain' },
  { name: 'keepintvl', level: solTcp, number: tcp.keepintvl, step: 'plain' },
  { name: 'keepcnt', level: solTcp, number: tcp.keepcnt, step: 'plain' },
  { name: 'userTimeout', level: solTcp, number: tcp.userTimeout, step: 'own' },
  { name: 'windowClamp', level: solTcp, number: tcp.windowClamp, step: 'own' },
  { name: 'sndbuf', level: solSocket, number: so.sndbuf, step: 'own' },
  { name: 'rcvbuf', level: solSocket, number: so.rcvbuf, step: 'own' },
];

const rowsOf = new Map<number, readonly OptionRow[]>(
  [afInet, afInet6].map((family) => [
    family,
    rows.filter((row) => row.family === undefined || row.family === family),
  ]),
);

const lingerScratch = Buffer.alloc(8);
const congestionScratch = Buffer.alloc(16);

/** Reads every option that travels. */
export function readSocketOptions(fd: number, family: number): Record<string, number> {
  const options: Record<string, number> = {};
  for (const row of rowsOf.get(family) ?? []) options[row.name] = getIntOption(fd, row.level, row.number);
  getBufferOption(fd, solSocket, so.linger, lingerScratch);
  options.linger = lingerScratch.readInt32LE(0) === 0 ? 0 : 0x10000 + lingerScratch.readInt32LE(4);
  // Linux 5.14. Without it a carried size would stop autotuning for good (criu #1568).
  const bufLock = getIntOptionIfKnown(fd, solSocket, so.bufLock);
  if (bufLock !== undefined) options.bufLock = bufLock;
  return options;
}

/** Sets the options that need no step of their own and differ from a fresh socket's. */
export function applyPlainOptions(fd: number, family: number, options: SocketOptions): void {
  const fresh = freshOptions(family);
  for (const row of rowsOf.get(family) ?? []) {
    const value = options[row.name];
    if (row.step === 'own' || value === undefined || value === fresh[row.name]) continue;
    setIntOption(fd, row.level, row.number, value);
  }
  const linger = options.linger ?? 0;
  if (linger !== fresh.linger) {
    lingerScratch.writeInt32LE(linger === 0 ? 0 : 1, 0);
    lingerScratch.writeInt32LE(linger & 0xffff, 4);
    setBufferOption(fd, solSocket, so.linger, lingerScratch);
  }
}

/** Name of the congestion control in use, '' if the kernel does not say. */
export function readCongestion(fd: number): string {
  congestionScratch.fill(0);
  const length = getBufferOption(fd, solTcp, tcp.congestion, congestionScratch);
  const end = congestionScratch.indexOf(0);
  return congestionScratch.toString('latin1', 0, end < 0 ? length : Math.min(end, length));
}

/** Chooses a congestion control; false if this host does not have it, and then the host's own stays. */
export function applyCongestion(fd: number, family: number, name: string): boolean {
  if (name === '' || name === freshCongestion(family)) return true;
  try {
    setBufferOption(fd, solTcp, tcp.congestion, Buffer.from(name, 'latin1'));
    return true;
  } catch {
    return false;
  }
}

interface Fresh {
  readonly options: Record<string, number>;
  readonly congestion: string;
}

const freshByFamily = new Map<number, Fresh>();

/** Options of a socket nobody touched, read once a process and family. */
export function freshOptions(family: number): Record<string, number> {
  return fresh(family).options;
}

function freshCongestion(family: number): string {
  return fresh(family).congestion;
}

function fresh(family: number): Fresh {
  let known = freshByFamily.get(family);
  if (known === undefined) {
    const fd = openTcpSocket(family);
    try {
      known = { options: readSocketOptions(fd, family), congestion: readCongestion(fd) };
    } finally {
      closeFd(fd);
    }
    freshByFamily.set(family, known);
  }
  return known;
}
