/** The block `inputs:` of the daemon's YAML and what an endpoint's entry says for the analytics: what they are told, and by whom. */
import { z } from 'zod';
import type { EndpointConfig, InputsConfig } from './daemon-config.js';
import { bitRate, count, duration, durationOrZero, instant, path } from './fields.js';

/** The block as it is written. */
export const inputs = z.strictObject({
  /** Sessions in one message of an endpoint; the others come in turn. */
  telemetrySessions: count(0, 4096).default(512),
  /** The HTTP hook for notices; without it there is none. */
  noticeSocket: path.optional(),
  /** Between two probes of one path; zero sends none. */
  probeInterval: durationOrZero.default(250),
  /** Lines of `CIDR location`. */
  locations: path.optional(),
  /** An .mmdb, asked where the table knows nothing; needs the package mmdb-lib. */
  locationDatabase: path.optional(),
  /** A client prefix not seen for so long is forgotten. */
  clientRetention: duration.default(30 * 86_400_000),
  clientPrefixes: count(0, 1_000_000).default(10_000),
});

const maintenanceWindow = z.strictObject({
  start: instant,
  duration,
  notice: duration.default(600_000),
});

/** Keys of an entry of `endpoints`. */
export const endpointInputs = {
  maintenance: z.array(maintenanceWindow).max(1000).default([]),
  /** Of the path from the access point to it; learned if it is not given. */
  bandwidth: bitRate.optional(),
};

/** The block under the names the daemon uses. */
export function toInputs(block: z.output<typeof inputs>): InputsConfig {
  return {
    telemetrySessions: block.telemetrySessions,
    probeIntervalMs: block.probeInterval,
    clientRetentionMs: block.clientRetention,
    clientPrefixes: block.clientPrefixes,
    ...(block.noticeSocket === undefined ? {} : { noticeSocket: block.noticeSocket }),
    ...(block.locations === undefined ? {} : { locationsFile: block.locations }),
    ...(block.locationDatabase === undefined ? {} : { locationDatabaseFile: block.locationDatabase }),
  };
}

/** An endpoint's keys under the names the daemon uses. */
export function toEndpointInputs(entry: {
  readonly maintenance: readonly z.output<typeof maintenanceWindow>[];
  readonly bandwidth?: number | undefined;
}): Pick<EndpointConfig, 'maintenance' | 'bandwidthBps'> {
  const maintenance = entry.maintenance.map(({ start, duration: durationMs, notice }) => ({
    startAtMs: start,
    durationMs,
    noticeMs: notice,
  }));
  return { maintenance, ...(entry.bandwidth === undefined ? {} : { bandwidthBps: entry.bandwidth }) };
}
