/**
 * What this kernel and this process can do, found out by trying: a version number says little about a kernel that was
 * configured by somebody else. Each probe opens and closes what it needs and changes nothing.
 */
import { existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { type CapabilityName, effectiveCapabilities } from './capabilities.js';
import { closeFd } from './fd.js';
import { SyscallError, errno, libc, lastErrno } from './libc.js';
import { ip, repairMode, so, solIp, solSocket, solTcp, tcp } from './option-names.js';
import { destroyTcpSocket, listTcpSockets } from './sock-diag.js';
import { blockOutput } from './socket-block.js';
import { afInet } from './socket-address.js';
import { getBufferOption, getIntOption, openTcpSocket, setIntOption } from './socket.js';
import { tcpInfoBytes } from './tcp-info.js';

/** Who needs a feature: an endpoint's process, the agent of its host, the access point, any of them for comfort only. */
export type FeatureNeed = 'endpoint' | 'agent' | 'access-point' | 'optional';

/** One line of `restitch check`. */
export interface FeatureReport {
  /** Short and stable: `tcp-repair`. */
  readonly name: string;
  readonly isPresent: boolean;
  readonly needs: readonly FeatureNeed[];
  /** What was found, or why it is not there. */
  readonly found: string;
  /** What to do about it; empty if it is there. */
  readonly remedy: string;
}

interface Probe {
  readonly name: string;
  readonly needs: readonly FeatureNeed[];
  readonly remedy: string;
  /** What was found; throws or returns undefined if the feature is not there. */
  readonly look: () => string | undefined;
}

const probes: readonly Probe[] = [
  {
    name: 'tcp-repair',
    needs: ['endpoint'],
    remedy: 'give the process CAP_NET_ADMIN; the kernel needs CONFIG_CHECKPOINT_RESTORE before 4.13',
    look: () => withSocket((fd) => (setIntOption(fd, solTcp, tcp.repair, repairMode.on), 'works')),
  },
  {
    name: 'tcp-repair-window',
    needs: ['endpoint'],
    remedy: 'use Linux 4.9 or newer',
    look: () => withSocket(probeRepairWindow),
  },
  {
    name: 'tcp-info-timeouts',
    needs: ['optional'],
    remedy: 'Linux 6.7 counts retransmission timeouts; without it reports say less',
    look: () =>
      withSocket((fd) => {
        const length = getBufferOption(fd, solTcp, tcp.info, Buffer.alloc(tcpInfoBytes));
        return length >= 242 ? `TCP_INFO has ${length} bytes` : undefined;
      }),
  },
  {
    name: 'tcp-rto-max',
    needs: ['optional'],
    remedy:
      'Linux 6.15 brought it; without it a packet lost just behind a move or a take-over is resent after 3 s, not 1 s',
    look: () => withSocket((fd) => (getIntOption(fd, solTcp, tcp.rtoMaxMs), 'works')),
  },
  {
    name: 'buffer-lock',
    needs: ['optional'],
    remedy: 'Linux 5.14 brought it; without it a moved socket whose buffers had to grow stops tuning them',
    look: () => withSocket((fd) => (getIntOption(fd, solSocket, so.bufLock), 'works')),
  },
  {
    name: 'socket-output-block',
    needs: ['endpoint'],
    remedy: 'modprobe xfrm_user (CONFIG_XFRM_USER); without it a frozen socket resends what is in flight',
    look: () => withSocket((fd) => (blockOutput(fd, afInet) ? 'works' : undefined)),
  },
  {
    name: 'transparent-bind',
    needs: ['endpoint'],
    remedy:
      'give the process CAP_NET_ADMIN; without it a session that its client has half closed cannot be moved',
    look: () => withSocket((fd) => (setIntOption(fd, solIp, ip.transparent, 1), 'works')),
  },
  {
    name: 'sock-diag',
    needs: ['optional'],
    remedy: 'modprobe tcp_diag (CONFIG_INET_TCP_DIAG); without it TCP-MD5 sockets are not recognised',
    look: () => (listTcpSockets([listenState]), 'works'),
  },
  {
    name: 'sock-destroy',
    needs: ['optional'],
    remedy: 'use a kernel with CONFIG_INET_DIAG_DESTROY; orphans of a dead endpoint then end by themselves',
    look: probeSockDestroy,
  },
  {
    name: 'bpf',
    needs: ['access-point'],
    remedy: 'give the process CAP_BPF and CAP_NET_ADMIN (or root), on a kernel with CONFIG_BPF_SYSCALL',
    look: probeBpf,
  },
  {
    name: 'btf',
    needs: ['access-point'],
    remedy: 'use a kernel with CONFIG_DEBUG_INFO_BTF',
    look: () => presentPath('/sys/kernel/btf/vmlinux'),
  },
  {
    name: 'bpffs',
    needs: ['access-point'],
    remedy: 'use a kernel with CONFIG_BPF_SYSCALL',
    look: () => (/\tbpf$/m.test(readFileSync('/proc/filesystems', 'utf8')) ? 'known' : undefined),
  },
  {
    name: 'tc-clsact',
    needs: ['access-point'],
    remedy: 'modprobe sch_ingress cls_bpf (CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_BPF)',
    look: () => (isConfigured(['CONFIG_NET_SCH_INGRESS', 'CONFIG_NET_CLS_BPF']) ? 'configured' : undefined),
  },
  {
    name: 'tap',
    needs: ['access-point'],
    remedy: 'modprobe tun; in a container, pass /dev/net/tun in',
    look: () => presentPath('/dev/net/tun'),
  },
];

const listenState = 10;
const wantedCapabilities: ReadonlyArray<readonly [CapabilityName, readonly FeatureNeed[]]> = [
  ['CAP_NET_ADMIN', ['endpoint', 'access-point']],
  ['CAP_BPF', ['access-point']],
  ['CAP_PERFMON', ['access-point']],
];

/** Tries every feature restitch can use; takes a few milliseconds, and nothing stays behind. */
export function probeFeatures(): FeatureReport[] {
  const kernel: FeatureReport = {
    name: 'kernel',
    isPresent: true,
    needs: ['endpoint', 'access-point'],
    found: release(),
    remedy: '',
  };
  return [kernel, ...capabilityReports(), ...probes.map(runProbe)];
}

function runProbe({ name, needs, remedy, look }: Probe): FeatureReport {
  try {
    const found = look();
    if (found !== undefined) return { name, isPresent: true, needs, found, remedy: '' };
    return { name, isPresent: false, needs, found: 'not there', remedy };
  } catch (error) {
    const found = error instanceof Error ? error.message : String(error);
    return { name, isPresent: false, needs, found, remedy };
  }
}

function capabilityReports(): FeatureReport[] {
  const held = effectiveCapabilities();
  return wantedCapabilities.map(([name, needs]) => ({
    name: name.toLowerCase().replaceAll('_', '-'),
    isPresent: held.has(name),
    needs,
    found: held.has(name) ? 'effective' : 'not effective',
    remedy: held.has(name) ? '' : `run as root, or with AmbientCapabilities=${name}`,
  }));
}

function withSocket(look: (fd: number) => string | undefined): string | undefined {
  const fd = openTcpSocket(afInet);
  try {
    return look(fd);
  } finally {
    closeFd(fd);
  }
}

function probeRepairWindow(fd: number): string | undefined {
  setIntOption(fd, solTcp, tcp.repair, repairMode.on);
  for (let bytes = 20; bytes <= 64; bytes += 4) {
    try {
      getBufferOption(fd, solTcp, tcp.repairWindow, Buffer.alloc(bytes));
      return `${bytes} bytes`;
    } catch (error) {
      if (!(error instanceof SyscallError) || error.errno !== errno.EINVAL) throw error;
    }
  }
  return undefined;
}

/** Asks for a connection that cannot be: ENOENT says that the kernel would have ended it. */
function probeSockDestroy(): string {
  const nobody = { address: '192.0.2.1', port: 1 };
  destroyTcpSocket(nobody, nobody);
  return 'works';
}

const bpfCallNumbers: Readonly<Record<string, number>> = { x64: 321, arm64: 280 };

/** Makes a map of one element and lets it go. */
function probeBpf(): string | undefined {
  const number = bpfCallNumbers[process.arch];
  if (number === undefined) return undefined;
  const bpfFn = libc.declare('long syscall(long number, long command, void *attr, unsigned int size)');
  const attr = Buffer.alloc(128);
  // BPF_MAP_CREATE: array, key 4, value 4, one entry.
  [2, 4, 4, 1].forEach((word, i) => attr.writeUInt32LE(word, 4 * i));
  const fd = bpfFn(number, 0, attr, attr.length);
  if (fd < 0) throw new SyscallError('bpf', lastErrno());
  closeFd(fd);
  return 'works';
}

function presentPath(path: string): string | undefined {
  return existsSync(path) ? path : undefined;
}

/** The running kernel's configuration, where it is shown; a kernel that hides it is given the benefit of the doubt. */
function isConfigured(names: readonly string[]): boolean {
  const text = readKernelConfig();
  return text === undefined || names.every((name) => new RegExp(`^${name}=[ym]$`, 'm').test(text));
}

function readKernelConfig(): string | undefined {
  try {
    return readFileSync(`/boot/config-${release()}`, 'utf8');
  } catch {
    return undefined;
  }
}
