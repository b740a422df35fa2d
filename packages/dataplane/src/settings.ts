/** The settings both programs read; this process is their only writer and keeps a copy. */
import { randomBytes } from 'node:crypto';
import { lookupElement, updateElement } from '@restitch/sys/internal';
import type { DataplaneOptions } from './contract.js';
import { settingsLayout } from './layout.js';

/** Written through at every change. */
export interface Settings {
  /** What the maps said when this process came. */
  readonly wasRebuilding: boolean;
  setRebuilding(on: boolean): void;
  /** 0: there is no hold device, packets to be held are dropped. */
  setHoldInterface(interfaceIndex: number): void;
}

/**
 * Writes this process's bounds. Whether ownership is being rebuilt, and the hash, are the maps' own and outlive it; new
 * maps begin rebuilding. There is no hold device yet.
 */
export function openSettings(
  mapFd: number,
  { isAdopted, holdFrames }: { readonly isAdopted: boolean; readonly holdFrames: number },
  { maxFlows, holdBounds }: Pick<DataplaneOptions, 'maxFlows' | 'holdBounds'>,
): Settings {
  const key = Buffer.alloc(4);
  const memory = Buffer.alloc(settingsLayout.sizeBytes);
  if (isAdopted) lookupElement(mapFd, key, memory);
  else {
    memory.writeUInt32LE(1, settingsLayout.rebuilding);
    randomBytes(4).copy(memory, settingsLayout.hashSeed);
  }
  const set = (offset: number, value: number): void => {
    memory.writeUInt32LE(value, offset);
    updateElement(mapFd, key, memory);
  };
  memory.writeUInt32LE(maxFlows, settingsLayout.maxFlows);
  memory.writeUInt32LE(holdBounds.flowBytes, settingsLayout.holdFlowBytes);
  memory.writeUInt32LE(holdFrames, settingsLayout.holdFrames);
  memory.writeBigUInt64LE(BigInt(holdBounds.totalBytes), settingsLayout.holdTotalBytes);
  set(settingsLayout.holdIfindex, 0);
  return {
    wasRebuilding: memory.readUInt32LE(settingsLayout.rebuilding) !== 0,
    setRebuilding: (on) => set(settingsLayout.rebuilding, on ? 1 : 0),
    setHoldInterface: (interfaceIndex) => set(settingsLayout.holdIfindex, interfaceIndex),
  };
}
