/**
 * A BPF file system of a test file's own: it depends neither on the host's nor on what other tests pin, and nothing of it
 * is left afterwards.
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { mountBpffs, unmountBpffs } from '@restitch/sys/internal';
import { afterAll, beforeAll } from 'vitest';

/** A mounted BPF file system. */
export interface TestBpfDirectory {
  readonly path: string;
  /** Takes it away with every pin. */
  close(): void;
}

const root = '/run/restitch/test';
let made = 0;

/** Its path, mounted from the first `beforeAll` to the last `afterAll` of a test file; call it at the top of that. */
export function useBpfDirectory(): string {
  const path = newPath();
  beforeAll(() => mount(path));
  afterAll(() => remove(path));
  return path;
}

/** Mounts one at once. */
export function openBpfDirectory(): TestBpfDirectory {
  const path = newPath();
  mount(path);
  return { path, close: () => remove(path) };
}

function newPath(): string {
  return `${root}/bpf-${process.pid}-${++made}`;
}

function mount(path: string): void {
  mkdirSync(root, { recursive: true });
  removeAbandoned();
  mkdirSync(path);
  mountBpffs(path, 0o700);
}

/** Takes down what test processes that were killed have left. */
function removeAbandoned(): void {
  for (const name of readdirSync(root)) {
    const pid = /^bpf-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) remove(`${root}/${name}`);
  }
}

function remove(path: string): void {
  unmountBpffs(path);
  rmSync(path, { recursive: true, force: true });
}
