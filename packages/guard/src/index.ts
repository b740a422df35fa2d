/** Public door of @restitch/guard. */
export { parseProtection } from './levels.js';
export type { DegradedRule, ProtectionLevel, ProtectionOptions, ProtectionSettings } from './levels.js';
