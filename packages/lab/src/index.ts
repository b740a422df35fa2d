/** Public door of @restitch/lab: the commands that need a laboratory, for the `restitch` command to mount. */
export { registerBenchCommands } from './bench/commands.js';
export { registerDemoCommands } from './demo/run-demo.js';
export { registerLabCommands } from './lab/commands.js';
