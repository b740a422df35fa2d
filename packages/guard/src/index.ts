/** Public door of @restitch/guard. */
export { parseProtection } from './levels.js';
export type { DegradedRule, ProtectionLevel, ProtectionOptions, ProtectionSettings } from './levels.js';
export { HostAgent } from './agent/host-agent.js';
export type { HostAgentOptions } from './agent/host-agent.js';
