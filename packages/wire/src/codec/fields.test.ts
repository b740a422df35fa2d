import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { epochSchema } from './fields.js';
import { pinnedBits } from '../../../../test/pinned-fields.js';

/** The newest layout of the access point's maps. */
function newestLayout(): number {
  const files = readdirSync(new URL('../../../../bpf/steering/pinned', import.meta.url));
  return Math.max(...files.map((file) => Number(/^layout-(\d+)\.txt$/.exec(file)?.[1] ?? 0)));
}

describe('an epoch', () => {
  it('is as wide in messages as in a record, no more and no less', () => {
    const field = pinnedBits('steering', newestLayout(), 'record_word').find(({ name }) => name === 'epoch');
    expect(field?.bits).toBe(24);
    const highest = 2 ** (field?.bits ?? 0) - 1;
    expect(epochSchema.safeParse(highest).success).toBe(true);
    expect(epochSchema.safeParse(highest + 1).success).toBe(false);
  });
});
