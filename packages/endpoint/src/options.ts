/** What an application says when it makes an endpoint or a server, checked once. */
import type { TlsFiles } from '@restitch/channel';
import type { ProtectionOptions } from '@restitch/guard';
import type { GuardOptions } from './protect/protection.js';
import {
  type ClosingBounds,
  defaultClosingBytes,
  defaultClosingTimeoutMs,
} from './session/closing-sessions.js';
import {
  type Clock,
  type Counters,
  type Logger,
  RestitchError,
  createCounters,
  normalizeAddress,
  silentLogger,
  systemClock,
} from '@restitch/core';
import { type PlainData } from '@restitch/wire';
import { defaultMaxImageBytes, endpointNameSchema } from '@restitch/wire/internal';

/** Name and version of the application; a target that does not accept them is refused before anything is frozen. @public */
export interface AppIdentity {
  readonly name: string;
  readonly version: string;
}

/** The application, as it stands in a hello, a reservation and an image. @public */
export interface AppOptions extends AppIdentity {
  /**
   * Whether sessions of that application may come here. Without it: the same name, and the same version unless the
   * listener has `upgradeState`.
   */
  readonly accepts?: (name: string, version: string) => boolean;
}

/** What one endpoint process is. */
export interface EndpointOptions {
  /** As in its certificate. */
  readonly name: string;
  /** Control port of the access point. */
  readonly accessPoint: { readonly host: string; readonly port: number };
  readonly tls: TlsFiles;
  /** Where this endpoint takes images from other endpoints; port 0 lets the kernel choose. */
  readonly stateAddress: { readonly host: string; readonly port: number };
  /** Its address on the network of the VIP; by default that of `stateAddress`. */
  readonly dataAddress?: string;
  readonly app: AppOptions;
  /** Places for sessions; sessions moved here are refused beyond. Unbounded by default. */
  readonly capacitySessions?: number;
  /** Largest session image sent or taken, 64 MiB by default. */
  readonly maxImageBytes?: number;
  /** This host's agent; with it, listeners may be protected and this endpoint keeps replicas for others. */
  readonly guard?: GuardOptions;
  /** What sessions may cost whose applications have ended them and whose clients lack something yet. */
  readonly closing?: ClosingOptions;
  /**
   * What SIGTERM does: `drain` (default) moves everything away, waits for what cannot be moved, and exits, within
   * `stopTimeoutMs`; `ignore` leaves the signal to the application.
   */
  readonly onSigterm?: 'drain' | 'ignore';
  /** 25 s by default, or the environment's RESTITCH_STOP_TIMEOUT_MS, where a supervisor says how long it waits. */
  readonly stopTimeoutMs?: number;
  readonly clock?: Clock;
  readonly logger?: Logger;
  readonly counters?: Counters;
}

/** Bounds of closing sessions; the kernel's own for orphans do not apply to them. */
interface ClosingOptions {
  /** Since the client last acknowledged a byte, 600,000 by default; its end is a reset. */
  readonly timeoutMs?: number;
  /** Unacknowledged bytes of all of them, 256 MiB by default; beyond it those without progress are reset, longest first. */
  readonly bytes?: number;
}

/** What one listening server of an endpoint is. */
export interface ServerOptions {
  /** Name of the listener, the same on all endpoints that serve it; `tcp-<port>` by default. */
  readonly listener?: string;
  /** As for net.createServer: false (default) answers the client's FIN with ours. */
  readonly allowHalfOpen?: boolean;
  readonly noDelay?: boolean;
  readonly keepAlive?: boolean;
  readonly keepAliveInitialDelayMs?: number;
  /**
   * TCP_NOTSENT_LOWAT of accepted sockets, bytes; 0 leaves the kernel's own. What the kernel holds unsent must travel with
   * the session while its client waits, so by default little is held there and the rest stays with the application.
   */
  readonly notSentLowWaterBytes?: number;
  /**
   * State of a session that came from another version of the application, as this version wants it. Throwing refuses the
   * session; the source serves on.
   */
  readonly upgradeState?: (state: PlainData, fromVersion: string) => PlainData;
  /** What its sessions survive; needs the endpoint's `guard`. Level `none` by default. */
  readonly protection?: ProtectionOptions;
}

/** Checked options with their defaults. */
export interface ResolvedEndpointOptions {
  readonly name: string;
  readonly accessPoint: { readonly host: string; readonly port: number };
  readonly tls: TlsFiles;
  readonly stateAddress: { readonly host: string; readonly port: number };
  readonly dataAddress: string;
  readonly app: AppOptions;
  readonly capacitySessions: number;
  readonly maxImageBytes: number;
  readonly guard: GuardOptions | undefined;
  readonly closing: ClosingBounds;
  readonly onSigterm: 'drain' | 'ignore';
  readonly stopTimeoutMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly counters: Counters;
}

/**
 * 128 KiB unsent keep a 10 Gbit/s path busy for 100 µs, longer than an event-loop turn of a server that is not overloaded;
 * without a bound a bulk download had 3.8 MB in its image and missed the 50 ms between hold and switch.
 */
export const defaultNotSentLowWaterBytes = 128 * 1024;

/** Largest u32: the control message cannot say more. */
const noBound = 0xffffffff;

/** Options checked and completed. Throws `usage` naming the option. */
export function resolveEndpointOptions(options: EndpointOptions): ResolvedEndpointOptions {
  if (!endpointNameSchema.safeParse(options.name).success) {
    throw refuse('name', options.name, 'a DNS-like name as in the certificate');
  }
  assertPort('accessPoint.port', options.accessPoint.port, 1);
  assertPort('stateAddress.port', options.stateAddress.port, 0);
  const stateHost = toAddress('stateAddress.host', options.stateAddress.host);
  if (stateHost === '0.0.0.0' || stateHost === '::') {
    throw refuse('stateAddress.host', stateHost, 'the address other endpoints reach this one by');
  }
  for (const key of ['name', 'version'] as const) {
    const value = options.app[key];
    if (typeof value !== 'string' || value.length > 64)
      throw refuse(`app.${key}`, value, 'at most 64 characters');
  }
  return {
    name: options.name,
    accessPoint: options.accessPoint,
    tls: options.tls,
    stateAddress: { host: stateHost, port: options.stateAddress.port },
    dataAddress: toAddress('dataAddress', options.dataAddress ?? stateHost),
    app: options.app,
    capacitySessions: options.capacitySessions ?? noBound,
    maxImageBytes: options.maxImageBytes ?? defaultMaxImageBytes,
    guard: options.guard,
    closing: {
      timeoutMs: positive('closing.timeoutMs', options.closing?.timeoutMs ?? defaultClosingTimeoutMs),
      bytes: positive('closing.bytes', options.closing?.bytes ?? defaultClosingBytes),
    },
    onSigterm: onSigtermOf(options.onSigterm ?? 'drain'),
    stopTimeoutMs: positive('stopTimeoutMs', options.stopTimeoutMs ?? stopTimeoutOfEnvironment()),
    clock: options.clock ?? systemClock,
    logger: options.logger ?? silentLogger,
    counters: options.counters ?? createCounters(),
  };
}

/** Below the 30 s that most supervisors wait before they kill. */
const defaultStopTimeoutMs = 25_000;
const stopTimeoutVariable = 'RESTITCH_STOP_TIMEOUT_MS';

function stopTimeoutOfEnvironment(): number {
  const text = process.env[stopTimeoutVariable];
  return text === undefined ? defaultStopTimeoutMs : positive(stopTimeoutVariable, Number(text));
}

function positive(option: string, value: number): number {
  if (Number.isFinite(value) && value > 0) return value;
  throw refuse(option, value, 'a number above 0');
}

function onSigtermOf(value: 'drain' | 'ignore'): 'drain' | 'ignore' {
  if (value === 'drain' || value === 'ignore') return value;
  throw refuse('onSigterm', value, "'drain' or 'ignore'");
}

function assertPort(option: string, value: number, lowest: number): void {
  if (Number.isInteger(value) && value >= lowest && value <= 65535) return;
  throw refuse(option, value, `a port ${lowest}..65535`);
}

function toAddress(option: string, value: string): string {
  try {
    return normalizeAddress(value);
  } catch {
    throw refuse(option, value, 'an IP address');
  }
}

function refuse(option: string, value: unknown, expected: string): RestitchError {
  return new RestitchError('usage', `option ${option}: ${JSON.stringify(value)} is not ${expected}`, {
    details: { option },
  });
}
