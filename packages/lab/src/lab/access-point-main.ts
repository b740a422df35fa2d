/** The access point of a laboratory: the daemon that `restitch access-point` runs, without the package of that command. */
import { runDaemon } from '@restitch/access-point';
import { createProcessEnv, toExitCode } from '@restitch/console';
import { toRestitchError } from '@restitch/core';

const env = createProcessEnv();
try {
  await runDaemon({
    configFile: process.argv[2] ?? '',
    signal: env.signal,
    onReady: ({ controlPort, adminSocket }) =>
      env.err(`ready: control port ${controlPort}, admin socket ${adminSocket}\n`),
  });
} catch (error) {
  const { code, message } = toRestitchError(error);
  env.err(`access point: ${message} (${code})\n`);
  process.exitCode = toExitCode(error);
}
