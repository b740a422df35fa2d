/** The daemon with its sockets: control listener and admin socket around the core. */
import { RestitchError, createCounters, silentLogger, systemClock } from '@restitch/core';
import type { Clock, Counters, Logger } from '@restitch/core';
import { listenChannels } from '@restitch/channel';
import { openIcmpEcho } from '@restitch/sys/internal';
import type { ChannelListener } from '@restitch/channel';
import type { Dataplane } from '@restitch/dataplane';
import { startWorkerRunner } from '../analytics/engine-runner.js';
import { createAdminHandler } from '../admin/admin-commands.js';
import { openAdminServer } from '../admin/admin-server.js';
import type { AdminServer } from '../admin/admin-server.js';
import { openNoticeHook } from '../analytics/notice-hook.js';
import type { NoticeHook } from '../analytics/notice-hook.js';
import type { DaemonConfig } from '../config/index.js';
import { DaemonCore } from './daemon-core.js';
import type { DaemonState } from '../admin/daemon-state.js';
import { openEndpointIds } from '../model/endpoint-ids.js';
import { assertReloadable } from './reload.js';

/** What the daemon is started with. */
export interface AccessPointOptions {
  readonly config: DaemonConfig;
  readonly dataplane: Dataplane;
  readonly clock?: Clock;
  readonly logger?: Logger;
  readonly counters?: Counters;
  /** Reads and checks the configuration again; throws `config_invalid`. Without it, reload is refused. */
  readonly readConfig?: () => Promise<DaemonConfig>;
}

/** A running daemon. */
export interface AccessPoint {
  readonly state: DaemonState;
  /** Port of the control listener. */
  readonly controlPort: number;
  /** Takes the configuration up again; throws and keeps the old one if it is bad. */
  reload(): Promise<void>;
  /** Stops; programs and maps stay, traffic flows on. */
  close(): Promise<void>;
}

/** Starts a daemon over a data plane that is open. Throws what its listeners and files throw. */
export async function openAccessPoint(options: AccessPointOptions): Promise<AccessPoint> {
  const daemon = new Daemon(options);
  try {
    await daemon.start();
  } catch (error) {
    await daemon.close();
    throw error;
  }
  return daemon;
}

class Daemon implements AccessPoint {
  readonly #options: AccessPointOptions;
  readonly #core: DaemonCore;
  #listener: ChannelListener | undefined;
  #admin: AdminServer | undefined;
  #hook: NoticeHook | undefined;

  constructor(options: AccessPointOptions) {
    const { config, dataplane, clock = systemClock, logger = silentLogger } = options;
    this.#options = options;
    this.#core = new DaemonCore({
      config,
      dataplane,
      clock,
      logger,
      counters: options.counters ?? createCounters(),
      ids: openEndpointIds(config.stateDirectory),
      reload: () => this.reload(),
      openEcho: openIcmpEcho,
      startAnalytics: startWorkerRunner,
    });
  }

  get state(): DaemonState {
    return this.#core.state;
  }

  get controlPort(): number {
    return this.#listener?.port ?? 0;
  }

  async start(): Promise<void> {
    const { config } = this.#options;
    const { logger, counters, dataplane } = this.state;
    const { listen, tls, maxMessageBytes, handshakeMs, maxConnections } = config.control;
    await this.state.collectors.openLocations(config.inputs);
    this.#core.start();
    this.#admin = await openAdminServer(config.adminSocket, createAdminHandler(this.state), logger);
    const { noticeSocket } = config.inputs;
    if (noticeSocket !== undefined) {
      const { notices } = this.state.collectors;
      this.#hook = await openNoticeHook(noticeSocket, { ...this.state, notices });
    }
    this.#listener = await listenChannels({
      host: listen.address,
      port: listen.port,
      tls,
      allow: ['endpoint'],
      maxMessageBytes,
      handshakeMs,
      maxConnections,
      onChannel: (channel) => this.#core.accept(channel),
      logger,
      counters,
    });
    logger.info({ port: this.controlPort, adopted: dataplane.isAdopted }, 'access point started');
  }

  async reload(): Promise<void> {
    const { readConfig } = this.#options;
    if (readConfig === undefined) throw new RestitchError('usage', 'this daemon was not started from a file');
    const next = await readConfig();
    assertReloadable(this.state.config(), next);
    await this.state.collectors.openLocations(next.inputs);
    this.#core.useConfig(next);
    this.state.logger.info({}, 'configuration reloaded');
  }

  async close(): Promise<void> {
    const remembered = this.#core.close();
    await this.#listener?.close();
    await this.#admin?.close();
    await this.#hook?.close();
    await remembered;
    this.state.dataplane.close();
  }
}
