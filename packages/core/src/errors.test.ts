import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { RestitchError, errorCodes, isErrorCode, toRestitchError } from './errors.js';

const page = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8');

describe('error codes', () => {
  it('stand in docs/errors.md with their sentence, and no others do', () => {
    const documented = [...page.matchAll(/^### `([a-z_]+)`\n+(.+)$/gm)].map(([, code, sentence]) => [
      code,
      sentence,
    ]);
    expect(documented.sort()).toEqual(Object.entries(errorCodes).sort());
  });

  it('stay a short list', () => {
    expect(Object.keys(errorCodes).length).toBeLessThanOrEqual(30);
  });

  it('each have a cause and a remedy on the page', () => {
    const sections = page.split(/^### /m).slice(1);
    for (const section of sections)
      expect(section, section.slice(0, 30)).toMatch(/\n\n.+\n\n(.|\n)*What to do/);
  });

  it('are told from other words, also from those every object knows', () => {
    expect(isErrorCode('stale_epoch')).toBe(true);
    for (const other of ['constructor', '__proto__', 'toString', '', 7, null])
      expect(isErrorCode(other)).toBe(false);
  });
});

describe('RestitchError', () => {
  it('says whether a retry may help, by its code or by its maker', () => {
    expect(new RestitchError('session_busy', 'x').retryable).toBe(true);
    expect(new RestitchError('forbidden', 'x').retryable).toBe(false);
    expect(new RestitchError('forbidden', 'x', { retryable: true }).retryable).toBe(true);
  });

  it('keeps a foreign error as its cause', () => {
    const cause = new TypeError('oops');
    expect(toRestitchError(cause)).toMatchObject({ code: 'internal', message: 'oops', cause });
    expect(toRestitchError('text', 'usage')).toMatchObject({ code: 'usage', message: 'text' });
    const own = new RestitchError('closed', 'x');
    expect(toRestitchError(own)).toBe(own);
  });
});
