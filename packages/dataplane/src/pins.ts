/**
 * Programs and maps in the BPF file system. They are built aside and renamed into place, so that a half-made set is
 * never adopted; the layout's number is part of the path, so that another version's set is refused by name.
 */
import { mkdirSync, readdirSync, renameSync, rmSync, rmdirSync, existsSync } from 'node:fs';
import { RestitchError } from '@restitch/core';
import type { Fd } from '@restitch/sys';
import { loadBpfObject, openPinned, pinObject } from '@restitch/sys/internal';
import { layoutVersion, mapNames } from './layout.js';
import type { MapName } from './layout.js';
import { objectPath } from './object-path.js';

/** The loaded data plane: descriptors of every map and program. */
export interface LoadedPrograms {
  readonly isAdopted: boolean;
  readonly maps: Readonly<Record<MapName, Fd>>;
  readonly steer: Fd;
  readonly reenter: Fd;
  readonly control: Fd;
}

/** Sizes of the maps whose size is the user's choice. */
export interface MapSizes {
  readonly maxFlows: number;
  readonly maxHalfOpen: number;
}

const layoutName = `layout-${layoutVersion}`;
const programNames = ['steer', 'reenter', 'control'] as const;

/** Loads the programs over the pinned maps, or over new ones when there are none; pins what is new. */
export function loadPinned(directory: string, sizes: MapSizes): LoadedPrograms {
  const foreign = pinnedLayouts(directory).filter((name) => name !== layoutName);
  if (foreign.length > 0) {
    throw new RestitchError(
      'bpf_rejected',
      `${directory} has pins of ${foreign.join(', ')}, this version makes ${layoutName}: ` +
        'stop the old daemon, drain, and remove that directory',
      { details: { directory, found: foreign, expected: layoutName } },
    );
  }
  const home = `${directory}/${layoutName}`;
  return existsSync(home) ? adopt(home) : create(directory, home, sizes);
}

/** Removes all pins of this layout. */
export function removePins(directory: string): void {
  rmSync(`${directory}/${layoutName}`, { recursive: true, force: true });
  if (existsSync(directory) && readdirSync(directory).length === 0) rmdirSync(directory);
}

/** Where a map or program is pinned. */
export function pinnedPath(directory: string, name: MapName | (typeof programNames)[number]): string {
  return `${directory}/${layoutName}/${name}`;
}

function pinnedLayouts(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory).filter((name) => name.startsWith('layout-'));
}

function create(directory: string, home: string, sizes: MapSizes): LoadedPrograms {
  const steering = loadBpfObject({
    path: objectPath('steering'),
    maps: mapNames,
    programs: ['steer', 'reenter'],
    maxEntries: { flows: sizes.maxFlows, half_open: sizes.maxHalfOpen },
  });
  const maps = steering.maps as Record<MapName, Fd>;
  const loaded = { isAdopted: false, maps, ...pick(steering.programs), control: loadControl(maps) };
  const aside = `${directory}/building-${process.pid}`;
  rmSync(aside, { recursive: true, force: true });
  mkdirSync(aside, { recursive: true, mode: 0o700 });
  for (const name of mapNames) pinObject(maps[name].value, `${aside}/${name}`);
  for (const name of programNames) pinObject(loaded[name].value, `${aside}/${name}`);
  renameSync(aside, home);
  return loaded;
}

function adopt(home: string): LoadedPrograms {
  const maps = Object.fromEntries(mapNames.map((name) => [name, openPinned(`${home}/${name}`)])) as Record<
    MapName,
    Fd
  >;
  const steering = loadBpfObject({
    path: objectPath('steering'),
    maps: [],
    programs: ['steer', 'reenter'],
    reuse: numbers(maps),
  });
  const loaded = { isAdopted: true, maps, ...pick(steering.programs), control: loadControl(maps) };
  for (const name of programNames) {
    const aside = `${home}/${name}-${process.pid}`;
    rmSync(aside, { force: true });
    pinObject(loaded[name].value, aside);
    renameSync(aside, `${home}/${name}`);
  }
  return loaded;
}

function loadControl(maps: Record<MapName, Fd>): Fd {
  const object = loadBpfObject({
    path: objectPath('control'),
    maps: [],
    programs: ['control'],
    reuse: numbers(maps),
  });
  return required(object.programs, 'control');
}

function pick(programs: Readonly<Record<string, Fd>>): { steer: Fd; reenter: Fd } {
  return { steer: required(programs, 'steer'), reenter: required(programs, 'reenter') };
}

function required(programs: Readonly<Record<string, Fd>>, name: string): Fd {
  const fd = programs[name];
  if (fd === undefined) throw new RestitchError('internal', `program ${name} was not loaded`);
  return fd;
}

function numbers(maps: Readonly<Record<MapName, Fd>>): Record<string, number> {
  return Object.fromEntries(mapNames.map((name) => [name, maps[name].value]));
}
