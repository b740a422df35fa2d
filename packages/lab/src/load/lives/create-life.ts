/** From the name of a kind to its client. */
import type { ClientLife, LifeOptions } from './client-life.js';
import { KeepaliveClient, UrgentSender, UserTimeoutClient } from './conversations.js';
import { HalfCloser } from './half-closer.js';
import type { LifeKind } from './life-kinds.js';
import { LingerClient } from './linger-client.js';
import { ServerAborter } from './server-aborter.js';
import { ServerHalfCloser } from './server-half-closer.js';
import { BacklogReader, SlowReader } from './slow-reader.js';
import { Vanisher } from './vanisher.js';
import { BurstVisitor, QueueVisitor } from './visitor.js';

const classes: Readonly<Record<LifeKind, new (options: LifeOptions) => ClientLife>> = {
  'slow-reader': SlowReader,
  'half-closer': HalfCloser,
  'server-half-closer': ServerHalfCloser,
  'server-ends-with-backlog': BacklogReader,
  'server-aborter': ServerAborter,
  urgent: UrgentSender,
  linger: LingerClient,
  keepalive: KeepaliveClient,
  'user-timeout': UserTimeoutClient,
  vanisher: Vanisher,
  'accept-queue': QueueVisitor,
  'connect-burst': BurstVisitor,
};

/** Begins to connect a client of that kind. */
export function createLife(options: LifeOptions): ClientLife {
  return new classes[options.kind](options);
}
