/** The daemon as a process: configuration file, log, signals. */
import { readFile } from 'node:fs/promises';
import { RestitchError, createCounters, systemClock } from '@restitch/core';
import { openDataplane } from '@restitch/dataplane';
import { prepareBpfDirectory } from '@restitch/sys/internal';
import { pino } from 'pino';
import { openAccessPoint } from './access-point.js';
import type { DaemonConfig } from '../config/index.js';
import { parseConfig } from '../config/index.js';

/** How the process is run. */
export interface RunDaemonOptions {
  readonly configFile: string;
  /** Aborted by SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
  /** Called when the control listener and the admin socket are open. */
  readonly onReady?: (info: { controlPort: number; adminSocket: string }) => void;
}

/** Runs until `signal` is aborted; SIGHUP reloads. Traffic flows on when it ends. */
export async function runDaemon(options: RunDaemonOptions): Promise<void> {
  const { configFile, signal, onReady } = options;
  const config = await readConfigFile(configFile);
  const logger = pino({ level: config.log.level, base: { accessPoint: config.name } }, pino.destination(2));
  const counters = createCounters();
  prepareBpfDirectory(config.pinDirectory, logger);
  const dataplane = openDataplane({
    interfaceName: config.interfaceName,
    pinDirectory: config.pinDirectory,
    holdDevice: config.holdDevice,
    maxFlows: config.flows.maxFlows,
    maxHalfOpen: config.flows.maxHalfOpen,
    holdBounds: config.hold,
    logger,
  });
  const readConfig = (): Promise<DaemonConfig> => readConfigFile(configFile);
  const accessPoint = await openAccessPoint({
    config,
    dataplane,
    clock: systemClock,
    logger,
    counters,
    readConfig,
  });
  const onHup = (): void => {
    accessPoint.reload().catch((error: Error) => logger.error({ reason: error.message }, 'reload refused'));
  };
  process.on('SIGHUP', onHup);
  onReady?.({ controlPort: accessPoint.controlPort, adminSocket: config.adminSocket });
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  process.off('SIGHUP', onHup);
  logger.info({}, 'stopping; traffic flows on');
  await accessPoint.close();
}

async function readConfigFile(path: string): Promise<DaemonConfig> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new RestitchError('config_invalid', `cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
  return parseConfig(text, path);
}
