import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ModelStore } from './model-store.js';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'restitch-models-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('model store', () => {
  it('reads what it wrote, keeps the one before, and leaves nothing half-written', () => {
    const store = new ModelStore(join(directory, 'analytics'));
    expect(store.read()).toBeUndefined();
    store.write('one', 0);
    store.write('two', 60_000);
    expect(new ModelStore(join(directory, 'analytics')).read()).toBe('two');
    expect(readdirSync(join(directory, 'analytics')).sort()).toEqual(['model.json', 'model.previous.json']);
    expect(readFileSync(join(directory, 'analytics/model.previous.json'), 'utf8')).toBe('one');
  });

  it('does not write the same twice, nor too often', () => {
    const store = new ModelStore(directory);
    store.write('one', 0);
    store.write('two', 1000);
    expect(store.read()).toBe('one');
    store.write('two', 31_000);
    expect(store.read()).toBe('two');
  });

  it('a disk that refuses is no reason to fail', () => {
    writeFileSync(join(directory, 'file'), '');
    const store = new ModelStore(join(directory, 'file/below'));
    store.write('one', 0);
    expect(store.failure).toMatch(/ENOTDIR/);
  });
});
