/** The host agent of a laboratory's endpoint, with a plain log. */
import type { Logger } from '@restitch/core';
import { HostAgent } from '@restitch/guard';
import type { AgentProgramOptions } from './start-parties.js';

const write =
  (level: string) =>
  (fields: object, message: string): void =>
    void process.stderr.write(`${level} ${message} ${JSON.stringify(fields)}\n`);
const logger: Logger = {
  debug: () => undefined,
  info: write('info'),
  warn: write('warn'),
  error: write('error'),
};

const options = JSON.parse(process.argv[2] ?? '{}') as AgentProgramOptions;
const { interfaceName, ...rest } = options;
await HostAgent.open({ ...rest, interfaces: [interfaceName], logger });
process.on('SIGTERM', () => process.exit(0));
process.send?.({ t: 'ready' }, undefined, undefined, () => process.disconnect());
