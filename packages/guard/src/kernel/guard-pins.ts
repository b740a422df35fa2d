/**
 * The guard's programs and maps in the BPF file system: made once per host by the agent (or the set-up command), found
 * there by applications. They are built aside and renamed into place, so that nobody finds half a set.
 */
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  rmdirSync,
} from 'node:fs';
import { RestitchError } from '@restitch/core';
import type { Fd } from '@restitch/sys';
import {
  attachTc,
  detachTc,
  interfaceIndex,
  loadBpfObject,
  openPinned,
  pinObject,
  updateElement,
} from '@restitch/sys/internal';
import { guardLayoutVersion } from './layout.js';
import { objectPath } from './object-path.js';

const mapNames = [
  'guard_flows',
  'guard_half_open',
  'guard_listeners',
  'guard_leases',
  'guard_verdicts',
] as const;
/** A map of the guard. */
type GuardMapName = (typeof mapNames)[number];

/** Descriptors of the pinned maps and of the control program. */
export interface GuardPins {
  readonly maps: Readonly<Record<GuardMapName, Fd>>;
  readonly egress: Fd;
  readonly control: Fd;
  /** Socket filter and its map, see witness.ts. */
  readonly witness: Fd;
  readonly witnesses: Fd;
  close(): void;
}

/** What the guard of one host is made of. */
export interface GuardHostOptions {
  /** e.g. /sys/fs/bpf/restitch/guard. */
  readonly pinDirectory: string;
  readonly maxFlows?: number;
  /** Group whose members (applications) may open the pins. */
  readonly groupId?: number;
}

/** 65,536 flows: three times what one process may hold open here. */
const defaultMaxFlows = 65_536;
/** Anyone else's filters at tc stay: these two numbers are ours. */
const filter = { handle: 0x7273, priority: 73 } as const;

const homeOf = (directory: string): string => `${directory}/layout-${guardLayoutVersion}`;

/** Opens the pinned guard. Throws `unsupported_host` if the host has none. */
export function openGuardPins(pinDirectory: string): GuardPins {
  const home = homeOf(pinDirectory);
  if (!existsSync(home)) {
    throw new RestitchError('unsupported_host', `no guard at ${home}: is the host agent running?`, {
      details: { pinDirectory },
    });
  }
  const open: Fd[] = [];
  const take = (name: string): Fd => {
    const fd = openPinned(`${home}/${name}`);
    open.push(fd);
    return fd;
  };
  try {
    const maps = Object.fromEntries(mapNames.map((name) => [name, take(name)])) as Record<GuardMapName, Fd>;
    return {
      maps,
      egress: take('egress'),
      control: take('control'),
      witness: take('witness'),
      witnesses: take('guard_witnesses'),
      close: () => open.forEach((fd) => fd.close()),
    };
  } catch (error) {
    open.forEach((fd) => fd.close());
    throw error;
  }
}

/** Opens the pinned guard, or makes it. */
export function ensureGuardPins(options: GuardHostOptions): GuardPins {
  const home = homeOf(options.pinDirectory);
  if (!existsSync(home)) create(options, home);
  // The group's members pass through it by name.
  if (options.groupId !== undefined) chownSync(options.pinDirectory, -1, options.groupId);
  return openGuardPins(options.pinDirectory);
}

/** Removes the pins; a filter that is still attached keeps its program alive. */
export function removeGuardPins(pinDirectory: string): void {
  rmSync(homeOf(pinDirectory), { recursive: true, force: true });
  if (existsSync(pinDirectory) && readdirSync(pinDirectory).length === 0) rmdirSync(pinDirectory);
}

/** Puts the guard at the egress of an interface of the current network namespace. Attaching again replaces it. */
export function attachGuard(pins: GuardPins, interfaceName: string): void {
  attachTc({ interfaceIndex: interfaceIndex(interfaceName), direction: 'egress' }, filter, pins.egress.value);
}

/** Takes it away; false if it was not there. */
export function detachGuard(interfaceName: string): boolean {
  return detachTc({ interfaceIndex: interfaceIndex(interfaceName), direction: 'egress' }, filter);
}

function create(options: GuardHostOptions, home: string): void {
  const guard = loadBpfObject({
    path: objectPath('guard'),
    maps: mapNames,
    programs: ['guard_egress'],
    maxEntries: { guard_flows: options.maxFlows ?? defaultMaxFlows },
  });
  const reuse = Object.fromEntries(mapNames.map((name) => [name, (guard.maps[name] as Fd).value]));
  const control = loadBpfObject({
    path: objectPath('control'),
    maps: [],
    programs: ['guard_control'],
    reuse,
  });
  const witness = loadBpfObject({
    path: objectPath('witness'),
    maps: ['guard_witnesses'],
    programs: ['guard_witness'],
  });
  const aside = `${options.pinDirectory}/building-${process.pid}`;
  try {
    neverEnding(guard.maps.guard_leases as Fd);
    rmSync(aside, { recursive: true, force: true });
    mkdirSync(aside, { recursive: true, mode: 0o750 });
    const pin = (name: string, fd: Fd | undefined): void => {
      pinObject((fd as Fd).value, `${aside}/${name}`);
      chmodSync(`${aside}/${name}`, 0o660);
      if (options.groupId !== undefined) chownSync(`${aside}/${name}`, -1, options.groupId);
    };
    for (const name of mapNames) pin(name, guard.maps[name]);
    pin('egress', guard.programs.guard_egress);
    pin('control', control.programs.guard_control);
    pin('witness', witness.programs.guard_witness);
    pin('guard_witnesses', witness.maps.guard_witnesses);
    if (options.groupId !== undefined) chownSync(aside, -1, options.groupId);
    renameSync(aside, home);
  } finally {
    rmSync(aside, { recursive: true, force: true });
    guard.close();
    control.close();
    witness.close();
  }
}

/** Lease 0 is for flows without a coordinator: guarded and gated, but not fenced by time. */
function neverEnding(leases: Fd): void {
  const value = Buffer.alloc(8);
  value.writeBigUInt64LE(0xffffffffffffffffn);
  updateElement(leases.value, Buffer.alloc(4), value);
}
