/** The loader and bpf(2) against the kernel. */
import { unlinkSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { useBpfDirectory } from '../../../../test/bpf-directory.js';
import { SyscallError } from '../libc.js';
import {
  createSingleElementMap,
  deleteElement,
  lookupElement,
  openPinned,
  pinObject,
  possibleCpus,
  readMap,
  updateElement,
} from './bpf-syscall.js';
import { loadBpfObject } from './libbpf.js';

const directory = useBpfDirectory();
const key = Buffer.alloc(4);

describe('bpf maps', () => {
  it('keep what is written, also through a pin', () => {
    const path = `${directory}/map`;
    const map = createSingleElementMap('test', 8);
    const value = Buffer.alloc(8);
    value.writeBigUInt64LE(42n);
    updateElement(map.value, key, value);
    pinObject(map.value, path);
    map.close();
    const again = openPinned(path);
    const read = Buffer.alloc(8);
    expect(lookupElement(again.value, key, read)).toBe(true);
    expect(read.readBigUInt64LE()).toBe(42n);
    readMap(again.value, { keyBytes: 4, valueBytes: 8 }, (keys, values, count) => {
      expect([count, keys.readUInt32LE(), values.readBigUInt64LE()]).toEqual([1, 0, 42n]);
    });
    again.close();
    unlinkSync(path);
  });

  it('say what was refused, with errno', () => {
    const map = createSingleElementMap('test', 8);
    const other = Buffer.alloc(4);
    other.writeUInt32LE(1);
    expect(lookupElement(map.value, other, Buffer.alloc(8))).toBe(false);
    expect(() => deleteElement(map.value, key)).toThrow(SyscallError);
    expect(() => updateElement(map.value, other, Buffer.alloc(8))).toThrow('bpf(mapUpdate): E2BIG');
    map.close();
    expect(() => openPinned(`${directory}/nobody`)).toThrow(`${directory}/nobody: ENOENT`);
  });

  it('know how many CPUs there may be', () => {
    expect(possibleCpus()).toBeGreaterThanOrEqual(1);
  });
});

it('an object file that is not there is named', () => {
  expect(() => loadBpfObject({ path: '/nowhere/x.bpf.o', maps: [], programs: [] })).toThrow(
    'open /nowhere/x.bpf.o: ENOENT; was the build run?',
  );
});
