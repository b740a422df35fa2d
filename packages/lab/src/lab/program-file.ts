/** Where the laboratory's own programs stand, also when tests run its sources. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { RestitchError } from '@restitch/core';

/** DIRECTORY=PARTY,PARTY: these parties run the programs of another built checkout. */
const mixVariable = 'RESTITCH_LAB_MIX';

/** Path of a built program by its path below src without extension, e.g. `load/clients/driver`. */
export function programFile(name: string): string {
  // From src/lab and from dist/lab alike, two steps up is the package.
  return fileURLToPath(new URL(`../../dist/${name}.js`, import.meta.url));
}

/**
 * Path of a party's own program: of this checkout, or of another one, so that versions can be shown to work together. Throws
 * `usage` if that checkout is not built.
 */
export function partyProgramFile(name: string, party: string): string {
  const [directory, parties = ''] = process.env[mixVariable]?.split('=') ?? [];
  if (directory === undefined || !parties.split(',').includes(party)) return programFile(name);
  const file = `${directory}/packages/lab/dist/${name}.js`;
  if (existsSync(file)) {
    process.stderr.write(`${party} runs ${file}\n`);
    return file;
  }
  throw new RestitchError('usage', `${mixVariable}: there is no ${file}: give a built checkout`);
}
