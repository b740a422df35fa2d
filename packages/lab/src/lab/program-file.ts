/** Where the laboratory's own programs stand, also when tests run its sources. */
import { fileURLToPath } from 'node:url';

/** Path of a built program by its path below src without extension, e.g. `load/clients/driver`. */
export function programFile(name: string): string {
  // From src/lab and from dist/lab alike, two steps up is the package.
  return fileURLToPath(new URL(`../../dist/${name}.js`, import.meta.url));
}
