/** Public door of @restitch/console: what the commands of the `cli` and of the `lab` stand on. */
export { createProcessEnv, exitCodes, toExitCode } from './cli-env.js';
export type { CliEnv } from './cli-env.js';
export { assertLabHost } from './host/assert-lab-host.js';
export { checkBpfDirectory, defaultPinDirectories } from './host/check-bpf-directory.js';
export { checkFeatures, hostChecks, hostRoles, runChecks } from './host/check-host.js';
export type { Check, CheckResult, HostRole } from './host/check-host.js';
export { createHostFacts } from './host/host-facts.js';
export type { HostFacts } from './host/host-facts.js';
export { stderrLogger } from './stderr-logger.js';
