/**
 * Where pins can be: is a directory on a BPF file system, can one be brought there, and bringing it.
 *
 * Pins outlive whoever made them, so nothing here unmounts, and nothing is mounted over a BPF file system that is there
 * already: every `mount -t bpf` is another one, and a second would hide the pins of the first.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { RestitchError } from '@restitch/core';
import type { Logger } from '@restitch/core';
import { canMakeEntries, isBpffs, isSysfs, mountBpffs, withDirectoryLock } from './bpffs.js';
import { effectiveCapabilities } from './capabilities.js';

/** The host's own BPF file system, where it has one. */
const hostBpfDirectory = '/sys/fs/bpf';

/**
 * What is true of a directory for pins, there or not. `mountable`: pins can be made once a BPF file system is mounted at
 * `mountPoint`, and this process may mount it. `unfit`: what stands in the way, and what would help.
 */
export type BpfDirectoryState =
  | { readonly t: 'fit' }
  | { readonly t: 'mountable'; readonly mountPoint: string }
  | ({ readonly t: 'unfit' } & Obstacle);

interface Obstacle {
  readonly why: string;
  readonly remedy: string;
}

/**
 * Everybody may pass through, root alone makes and lists entries: applications find the pins of their host's guard by
 * name, and what they may do with them is said by the pins' own modes. systemd's 0700 would lock them out.
 */
const rootMode = 0o711;
const suggestedMount = '/run/restitch-bpf';

/** Looks whether `path` can hold pins, and changes nothing. */
export function inspectBpfDirectory(path: string): BpfDirectoryState {
  const whole = resolve(path);
  const existing = nearestExisting(whole);
  const mountPoint = mountPointFor(whole);
  const isThere = isBpffs(existing);
  const obstacle = isThere ? pinObstacle(whole, existing) : mountObstacle(whole, mountPoint);
  if (obstacle !== undefined) return { t: 'unfit', ...obstacle };
  return isThere ? { t: 'fit' } : { t: 'mountable', mountPoint };
}

/**
 * Sees to it that pins can be made in `path`: mounts a BPF file system where there is none (at /sys/fs/bpf for a path
 * below it, else at the path's parent), says so in the log, and makes the directories above `path`. A second call, even of
 * another process at the same moment, finds the first one's. Throws `unsupported_host` with what stands in the way and the
 * remedy.
 */
export function prepareBpfDirectory(path: string, logger: Logger): void {
  const whole = resolve(path);
  const state = inspectBpfDirectory(whole);
  if (state.t === 'unfit') throw unfitError(whole, state);
  if (state.t === 'mountable' && mountOnce(whole, state.mountPoint)) {
    const { mountPoint } = state;
    logger.info({ mountPoint, pinDirectory: whole }, 'mounted a BPF file system for pins; it stays');
    if (!isHostMountNamespace()) {
      logger.warn({ mountPoint }, "this mount namespace is not the host's: pins end with its last process");
    }
  }
  makeDirectory(dirname(whole));
}

/**
 * Throws `unsupported_host` if members of a group cannot reach `path` by name: a directory of the BPF file system above
 * it lets neither everybody nor this group pass.
 */
export function assertGroupReaches(path: string, groupId: number): void {
  for (let at = dirname(resolve(path)); isBpffs(at); at = dirname(at)) {
    const { mode, gid } = statSync(at);
    if ((mode & 0o001) !== 0 || (gid === groupId && (mode & 0o010) !== 0)) continue;
    const why = `group ${groupId} cannot pass through ${at} (mode ${showMode(mode)})`;
    throw unfitError(path, { why, remedy: `${elsewhere(path)}; or chmod o+x ${at}` });
  }
}

/** False if another process was quicker, hence the second look under the lock. */
function mountOnce(path: string, mountPoint: string): boolean {
  try {
    mkdirSync(mountPoint, { recursive: true });
    return withDirectoryLock(mountPoint, () => {
      const state = inspectBpfDirectory(path);
      if (state.t === 'unfit') throw unfitError(path, state);
      if (state.t === 'fit') return false;
      mountBpffs(mountPoint, rootMode);
      return true;
    });
  } catch (cause) {
    if (cause instanceof RestitchError && cause.code === 'unsupported_host') throw cause;
    throw unfitError(path, { why: (cause as Error).message, remedy: elsewhere(path) }, cause);
  }
}

function makeDirectory(path: string): void {
  if (existsSync(path)) return;
  makeDirectory(dirname(path));
  mkdirSync(path, { recursive: true });
  // Whatever the umask says.
  chmodSync(path, rootMode);
}

/** A path elsewhere gets one at its parent, so that several daemons' directories stand side by side in it. */
function mountPointFor(path: string): string {
  return isHosts(path) ? hostBpfDirectory : dirname(path);
}

function isHosts(path: string): boolean {
  return path === hostBpfDirectory || path.startsWith(`${hostBpfDirectory}/`);
}

function pinObstacle(path: string, existing: string): Obstacle | undefined {
  if (path.slice(existing.length).includes('.')) {
    const why = `a BPF file system takes no name with a dot, as in ${path}`;
    return { why, remedy: 'name a pinDirectory (agent: --pins) without one' };
  }
  if (canMakeEntries(existing)) return undefined;
  const { mode, uid } = statSync(existing);
  const user = process.geteuid?.() ?? 0;
  const why = `user ${user} cannot make entries in ${existing} (owner ${uid}, mode ${showMode(mode)})`;
  // The host's own belongs to others, too.
  const remedy = isHosts(existing) ? elsewhere(path) : `as root: chown ${user} ${existing}`;
  return { why, remedy };
}

/** Only over a directory that holds nothing: what is in it would be hidden. */
function mountObstacle(path: string, mountPoint: string): Obstacle | undefined {
  if (mountPoint === hostBpfDirectory) {
    if (!existsSync(mountPoint)) {
      return { why: `there is no ${mountPoint}`, remedy: `mount sysfs; or ${elsewhere(path)}` };
    }
    if (!isSysfs(mountPoint)) {
      const why = `a file system that is not BPF's covers ${mountPoint}`;
      return { why, remedy: `${elsewhere(path)}; or as root: ${mountCommand(mountPoint)}` };
    }
  } else if (existsSync(mountPoint) && !isEmptyDirectory(mountPoint)) {
    const why = `${mountPoint} is on no BPF file system, and one mounted there would hide what it holds`;
    return { why, remedy: elsewhere(path) };
  }
  if (mayMount()) return undefined;
  const why = `no BPF file system is mounted at ${mountPoint}, and to mount one takes CAP_SYS_ADMIN`;
  const other = mountPoint === hostBpfDirectory ? `; or ${elsewhere(path)}` : '';
  return { why, remedy: `as root: ${mountCommand(mountPoint)}${other}` };
}

function isEmptyDirectory(path: string): boolean {
  try {
    return readdirSync(path).length === 0;
  } catch {
    return false;
  }
}

function mayMount(): boolean {
  return effectiveCapabilities().has('CAP_SYS_ADMIN');
}

function nearestExisting(path: string): string {
  return existsSync(path) ? path : nearestExisting(dirname(path));
}

function isHostMountNamespace(): boolean {
  try {
    return readlinkSync('/proc/self/ns/mnt') === readlinkSync('/proc/1/ns/mnt');
  } catch {
    // Who may not look at process 1 is not warned.
    return true;
  }
}

/** A privileged process mounts there by itself; for another, root does it and gives it away. */
function elsewhere(path: string): string {
  const named = `name a pinDirectory (agent: --pins) such as ${suggestedMount}/${basename(path).replaceAll('.', '-')}`;
  return mayMount() ? named : `${named}, and as root: ${mountCommand(suggestedMount)}`;
}

function mountCommand(mountPoint: string): string {
  const user = process.geteuid?.() ?? 0;
  const mount = `mount -t bpf -o mode=0711 bpf ${mountPoint}`;
  if (mountPoint === hostBpfDirectory) return mount;
  return `mkdir -p ${mountPoint} && ${mount}${user === 0 ? '' : ` && chown ${user} ${mountPoint}`}`;
}

function showMode(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}

function unfitError(path: string, { why, remedy }: Obstacle, cause?: unknown): RestitchError {
  const details = { pinDirectory: path };
  return new RestitchError('unsupported_host', `no place for pins at ${path}: ${why}: ${remedy}`, {
    details,
    ...(cause === undefined ? {} : { cause }),
  });
}
