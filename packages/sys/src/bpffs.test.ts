/** Mounting and unmounting, beside what the end-to-end tests of daemons and laboratories do with it. */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { canMakeEntries, isBpffs, mountBpffs, unmountBpffs } from './bpffs.js';
import { SyscallError } from './libc.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'restitch-bpffs-'));
});
afterEach(() => {
  unmountBpffs(directory);
  rmSync(directory, { recursive: true });
});

it('every mount is another file system, and all of them go at once', () => {
  mountBpffs(directory, 0o700);
  mkdirSync(`${directory}/first`);
  mountBpffs(directory, 0o700);
  expect(isBpffs(directory)).toBe(true);
  expect(existsSync(`${directory}/first`)).toBe(false);
  unmountBpffs(directory);
  expect(isBpffs(directory)).toBe(false);
});

it('passes over what is not mounted: a directory, one inside, and none at all', () => {
  unmountBpffs(directory);
  mountBpffs(directory, 0o700);
  mkdirSync(`${directory}/inside`);
  unmountBpffs(`${directory}/inside`);
  expect(existsSync(`${directory}/inside`)).toBe(true);
  unmountBpffs(`${directory}/nowhere`);
  expect(canMakeEntries(`${directory}/nowhere`)).toBe(false);
});

it('says where a mount was refused', () => {
  const mount = (): void => mountBpffs(`${directory}/nowhere`, 0o700);
  expect(mount).toThrow(SyscallError);
  expect(mount).toThrow(`mount bpf ${directory}/nowhere: ENOENT`);
});
