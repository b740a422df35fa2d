/**
 * Virtual services in the maps: a Maglev table each, put in its place whole and written over afterwards.
 *
 * Not swapped at each change: after a swap in a map of maps the kernel waits until no program reads the old one (10 ms,
 * more on a busy machine), and at a change of endpoints the daemon has better to do. A reader in the middle of a write
 * takes the endpoint of before or of after, both of which were right a moment ago or will be.
 */
import { RestitchError, encodeAddress, formatSocketAddress } from '@restitch/core';
import type { Fd } from '@restitch/sys';
import { createSingleElementMap, deleteElement, readMap, updateElement } from '@restitch/sys/internal';
import type { VirtualService } from './contract.js';
import { maglevSize, maxServices, serviceKeyLayout, serviceValueLayout } from './layout.js';
import type { MapName } from './layout.js';
import { buildMaglevTable } from './maglev-table.js';
import { assertEndpointId } from './targets.js';

/** Tables of 256 KiB that are kept for services with the same backends, set together or one after the other. */
const maxRememberedTables = 8;

interface Slot {
  readonly key: Buffer;
  readonly table: number;
  /** Backends as text: the same text needs no new table. */
  backends: string | undefined;
  /** The table that this process has put there; undefined as long as it is an earlier daemon's. */
  inner: Fd | undefined;
}

interface State {
  readonly maps: Readonly<Record<MapName, Fd>>;
  readonly slots: Map<string, Slot>;
}

/** Keeps the service maps as the user wants them. */
export interface Services {
  set(services: readonly VirtualService[]): void;
  /** The maps stay. */
  close(): void;
}

/** Services over the maps; those an earlier daemon set are found in them. */
export function createServices(maps: Readonly<Record<MapName, Fd>>): Services {
  const slots = readSlots(maps);
  // The IPv4 and IPv6 service of one application have the same backends, and a table costs 20 ms.
  const tables = new Map<string, Uint32Array>();
  return {
    set(services) {
      const wanted = new Map(services.map((service) => [serviceName(service), service]));
      if (wanted.size > maxServices)
        throw new RestitchError('usage', `${wanted.size} services, at most ${maxServices}`);
      for (const service of wanted.values()) for (const b of service.backends) assertEndpointId(b.endpointId);
      setVips(maps.vips.value, services);
      for (const [name, slot] of slots) {
        if (wanted.has(name)) continue;
        deleteElement(maps.services.value, slot.key);
        slot.inner?.close();
        slots.delete(name);
      }
      if (tables.size > maxRememberedTables) tables.clear();
      for (const service of wanted.values()) setService({ maps, slots }, service, tables);
    },
    close() {
      for (const slot of slots.values()) slot.inner?.close();
      slots.clear();
    },
  };
}

function setService({ maps, slots }: State, service: VirtualService, tables: Map<string, Uint32Array>): void {
  const name = serviceName(service);
  const backends = JSON.stringify(service.backends);
  const known = slots.get(name);
  if (known?.backends === backends) return;
  const slot = known ?? {
    key: encodeServiceKey(service),
    table: freeTable(slots),
    backends,
    inner: undefined,
  };
  const table = tables.get(backends) ?? buildMaglevTable(service.backends, maglevSize);
  tables.set(backends, table);
  if (table.length > 0) writeTable(maps.maglev_tables.value, slot, table);
  const value = Buffer.alloc(serviceValueLayout.sizeBytes);
  value.writeUInt32LE(slot.table, serviceValueLayout.table);
  value.writeUInt32LE(service.backends.length, serviceValueLayout.backends);
  updateElement(maps.services.value, slot.key, value);
  slot.backends = backends;
  slots.set(name, slot);
}

function writeTable(tablesFd: number, slot: Slot, table: Uint32Array): void {
  // A map has the byte order of its host, as the array has.
  const slots = Buffer.alloc(maglevSize * 4);
  slots.set(new Uint8Array(table.buffer, table.byteOffset, table.byteLength));
  if (slot.inner !== undefined) {
    updateElement(slot.inner.value, Buffer.alloc(4), slots);
    return;
  }
  const inner = createSingleElementMap('maglev', slots.length);
  try {
    updateElement(inner.value, Buffer.alloc(4), slots);
    const key = Buffer.alloc(4);
    key.writeUInt32LE(slot.table);
    const value = Buffer.alloc(4);
    value.writeUInt32LE(inner.value);
    updateElement(tablesFd, key, value);
    slot.inner = inner;
  } catch (error) {
    inner.close();
    throw error;
  }
}

function setVips(vipsFd: number, services: readonly VirtualService[]): void {
  const wanted = new Map<string, Buffer>();
  for (const { address } of services) {
    const key = Buffer.alloc(16);
    encodeAddress(address, key);
    wanted.set(key.toString('hex'), key);
  }
  const known = new Map<string, Buffer>();
  readMap(vipsFd, { keyBytes: 16, valueBytes: 4 }, (keys, _, count) => {
    for (let i = 0; i < count; i++) {
      const key = Buffer.alloc(16);
      keys.copy(key, 0, i * 16, (i + 1) * 16);
      known.set(key.toString('hex'), key);
    }
  });
  for (const [name, key] of known) if (!wanted.has(name)) deleteElement(vipsFd, key);
  for (const key of wanted.values()) updateElement(vipsFd, key, Buffer.alloc(4, 1));
}

function readSlots(maps: Readonly<Record<MapName, Fd>>): Map<string, Slot> {
  const keyBytes = serviceKeyLayout.sizeBytes;
  const valueBytes = serviceValueLayout.sizeBytes;
  const slots = new Map<string, Slot>();
  readMap(maps.services.value, { keyBytes, valueBytes }, (keys, values, count) => {
    for (let i = 0; i < count; i++) {
      const key = Buffer.alloc(keyBytes);
      keys.copy(key, 0, i * keyBytes, (i + 1) * keyBytes);
      const table = values.readUInt32LE(i * valueBytes + serviceValueLayout.table);
      slots.set(key.toString('hex'), { key, table, backends: undefined, inner: undefined });
    }
  });
  return slots;
}

function freeTable(slots: ReadonlyMap<string, Slot>): number {
  const taken = new Set([...slots.values()].map((slot) => slot.table));
  for (let i = 0; i < maxServices; i++) if (!taken.has(i)) return i;
  throw new RestitchError('internal', 'no free Maglev table');
}

function serviceName(service: VirtualService): string {
  if (!Number.isInteger(service.port) || service.port < 1 || service.port > 65535)
    throw new RestitchError('usage', `not a service: ${formatSocketAddress(service)}`);
  return encodeServiceKey(service).toString('hex');
}

function encodeServiceKey(service: VirtualService): Buffer {
  const key = Buffer.alloc(serviceKeyLayout.sizeBytes);
  encodeAddress(service.address, key, serviceKeyLayout.vip);
  key.writeUInt16BE(service.port, serviceKeyLayout.port);
  return key;
}
