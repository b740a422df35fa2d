/** Virtual services in the maps: a Maglev table each, filled aside and swapped in whole. */
import { encodeAddress, formatSocketAddress, normalizeAddress } from '@restitch/core';
import { RestitchError } from '@restitch/core';
import type { Fd } from '@restitch/sys';
import { createArrayMap, deleteElement, readMap, updateBatch, updateElement } from '@restitch/sys/internal';
import type { VirtualService } from './contract.js';
import { maglevSize, maxServices, serviceLayout } from './layout.js';
import type { MapName } from './layout.js';
import { buildMaglevTable } from './maglev-table.js';
import { assertEndpointId } from './targets.js';

interface Slot {
  readonly key: Buffer;
  readonly table: number;
  /** Backends as text: the same text needs no new table. */
  backends: string | undefined;
}

/** Keeps the service maps as the user wants them. */
export interface Services {
  set(services: readonly VirtualService[]): void;
}

/** Services over the maps; those an earlier daemon set are found in them. */
export function createServices(maps: Readonly<Record<MapName, Fd>>): Services {
  const slots = readSlots(maps);
  return {
    set(services) {
      const wanted = new Map(services.map((service) => [serviceName(service), service]));
      if (wanted.size > maxServices)
        throw new RestitchError('usage', `${wanted.size} services, at most ${maxServices}`);
      for (const service of wanted.values()) for (const b of service.backends) assertEndpointId(b.endpointId);
      setVips(maps, services);
      for (const [name, slot] of slots) {
        if (wanted.has(name)) continue;
        deleteElement(maps.services.value, slot.key);
        slots.delete(name);
      }
      for (const [name, service] of wanted) setService(maps, slots, name, service);
    },
  };
}

function setService(
  maps: Readonly<Record<MapName, Fd>>,
  slots: Map<string, Slot>,
  name: string,
  service: VirtualService,
): void {
  const backends = JSON.stringify(service.backends);
  const known = slots.get(name);
  if (known?.backends === backends) return;
  const slot = known ?? { key: encodeServiceKey(service), table: freeTable(slots), backends };
  const table = buildMaglevTable(service.backends, maglevSize);
  if (table.length > 0) swapTable(maps.maglev_tables.value, slot.table, table);
  const value = Buffer.alloc(serviceLayout.valueBytes);
  value.writeUInt32LE(slot.table, serviceLayout.table);
  value.writeUInt32LE(service.backends.length, serviceLayout.backends);
  updateElement(maps.services.value, slot.key, value);
  slot.backends = backends;
  slots.set(name, slot);
}

function swapTable(tablesFd: number, index: number, table: Uint32Array): void {
  const inner = createArrayMap('maglev', maglevSize);
  try {
    const keys = Buffer.alloc(maglevSize * 4);
    const values = Buffer.alloc(maglevSize * 4);
    for (let i = 0; i < maglevSize; i++) {
      keys.writeUInt32LE(i, i * 4);
      values.writeUInt32LE(table[i] ?? 0, i * 4);
    }
    updateBatch(inner.value, keys, values, maglevSize);
    const key = Buffer.alloc(4);
    key.writeUInt32LE(index);
    const value = Buffer.alloc(4);
    value.writeUInt32LE(inner.value);
    updateElement(tablesFd, key, value);
  } finally {
    inner.close();
  }
}

function setVips(maps: Readonly<Record<MapName, Fd>>, services: readonly VirtualService[]): void {
  const wanted = new Map(services.map((s) => [normalizeAddress(s.address), s.address]));
  const stale: Buffer[] = [];
  readMap(maps.vips.value, { keyBytes: 16, valueBytes: 4 }, (keys, _, count) => {
    for (let i = 0; i < count; i++)
      stale.push(Buffer.from(Uint8Array.from(keys.subarray(i * 16, i * 16 + 16)).buffer));
  });
  const keep = new Set(
    [...wanted.keys()].map((address) => Buffer.from(encodeAddress(address)).toString('hex')),
  );
  for (const key of stale) if (!keep.has(key.toString('hex'))) deleteElement(maps.vips.value, key);
  const one = Buffer.alloc(4, 1);
  for (const address of wanted.keys()) {
    const key = Buffer.alloc(16);
    encodeAddress(address, key);
    updateElement(maps.vips.value, key, one);
  }
}

function readSlots(maps: Readonly<Record<MapName, Fd>>): Map<string, Slot> {
  const { keyBytes, valueBytes } = serviceLayout;
  const slots = new Map<string, Slot>();
  readMap(maps.services.value, { keyBytes, valueBytes }, (keys, values, count) => {
    for (let i = 0; i < count; i++) {
      const key = Buffer.alloc(keyBytes);
      keys.copy(key, 0, i * keyBytes, (i + 1) * keyBytes);
      const table = values.readUInt32LE(i * valueBytes + serviceLayout.table);
      slots.set(key.toString('hex'), { key, table, backends: undefined });
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
  const key = Buffer.alloc(serviceLayout.keyBytes);
  encodeAddress(service.address, key);
  key.writeUInt16BE(service.port, serviceLayout.port);
  return key;
}
