/** Public door of @restitch/pki. */
export { createDevPki, defaultCaDays, defaultCertificateDays, openDevPki } from './dev-pki.js';
export type { CreatePkiOptions, DevPki, IssueOptions } from './dev-pki.js';
