/** The host agent of a laboratory's endpoint, with a plain log. */
import { HostAgent } from '@restitch/guard';
import { stderrLogger } from '@restitch/console';
import type { AgentProgramOptions } from './start-parties.js';

const options = JSON.parse(process.argv[2] ?? '{}') as AgentProgramOptions;
const { interfaceName, ...rest } = options;
await HostAgent.open({ ...rest, interfaces: [interfaceName], logger: stderrLogger });
process.on('SIGTERM', () => process.exit(0));
process.send?.({ t: 'ready' }, undefined, undefined, () => process.disconnect());
