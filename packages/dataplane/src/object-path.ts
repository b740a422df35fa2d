import { fileURLToPath } from 'node:url';

/** Where a compiled program is. Same path from src (tests) and dist: both are one level below the package. */
export function objectPath(name: 'steering' | 'control'): string {
  return fileURLToPath(new URL(`../build/${name}.bpf.o`, import.meta.url));
}
