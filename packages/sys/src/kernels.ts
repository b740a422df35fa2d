/**
 * Kernels on which restitch was tried: every program loaded, a move, a kill at level commit and a drain without a loss.
 *
 * One list for `restitch check`, for the documents (packages/cli/src/check/check.test.ts compares them) and for the virtual
 * machines that CI boots (test/kernels). A kernel in between is likely to work, and `check` loads the programs to see; an older
 * one was not tried.
 */
export const triedKernels = ['6.1', '6.12', '6.18'] as const;

/** The oldest of them, `major.minor`. */
export const oldestKernel: string = triedKernels[0];

/** True if a release such as `6.1.0-57-amd64` is of that kernel line or of a later one. */
export function isKernelAtLeast(release: string, line: string): boolean {
  const [major = 0, minor = 0] = release.split('.').map((part) => Number.parseInt(part, 10));
  const [leastMajor = 0, leastMinor = 0] = line.split('.').map(Number);
  return major > leastMajor || (major === leastMajor && minor >= leastMinor);
}
