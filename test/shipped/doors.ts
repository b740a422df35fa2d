/**
 * Stands where a user of the packages stands: it sees them by the types they ship, and the compiler checks every one of those,
 * which it does nowhere else (`skipLibCheck`). Never run; `npm run check` compiles it.
 */
import '@restitch/access-point';
import '@restitch/analytics';
import '@restitch/channel';
import '@restitch/core';
import '@restitch/dataplane';
import '@restitch/guard';
import '@restitch/pki';
import '@restitch/sys';
import '@restitch/wire';
import { createEndpoint, createServer, type Endpoint, type Server, type Session } from '@restitch/endpoint';

/** What applications call. */
export type Shown =
  | Session['id' | 'state' | 'commit' | 'migrate' | 'onFreeze' | 'replication' | 'shouldMigrate']
  | Endpoint['createServer' | 'drain' | 'report' | 'sessions']
  | Server['address' | 'close' | 'listen' | 'vip'];

/** What only the SDK's own parts call. */
type Hidden<T, K extends string> = Extract<keyof T, K>;
export const hidden: [
  Hidden<
    Session,
    'attach' | 'carrierEvents' | 'closingParty' | 'commitNow' | 'epoch' | 'freeze' | 'guards' | 'watcher'
  >,
  Hidden<Endpoint, 'confirmed' | 'options' | 'protection' | 'register' | 'sessionOpened' | 'table'>,
  Hidden<Server, 'accepts' | 'prepare' | 'protection' | 'resume' | 'upgradeState'>,
] extends [never, never, never]
  ? true
  : false = true;

export const makers: readonly unknown[] = [createEndpoint, createServer];
