/**
 * The one error type of restitch and the closed list of its codes.
 *
 * A code is what a program decides by and what docs/errors.md explains; the message is what a person reads.
 * We keep the list short on purpose: a finer reason goes into `details`, not into a new code.
 */

/** Every code, with the sentence docs/errors.md repeats. A test compares both. */
export const errorCodes = {
  usage: 'The command line or an API call was given arguments it cannot use.',
  config_invalid: 'A configuration file does not fit the schema.',
  unsupported_host: 'The host lacks a privilege, kernel feature or package that is needed.',
  unsupported_node: 'This Node.js does not have the handles the endpoint needs.',
  syscall_failed: 'A system call failed.',
  bpf_rejected: 'The kernel refused a BPF program or map.',
  flow_table_full: 'The flow table has no room for another flow.',
  unknown_session: 'No session has this id.',
  unknown_endpoint: 'No endpoint has this name.',
  socket_unsupported: 'This socket is of a kind, or in a state, that cannot be moved.',
  session_pinned: 'The application refuses to let this session move.',
  session_busy: 'The session did not reach a safe point before the deadline.',
  session_moving: 'The session is already in a move.',
  app_refused: 'The target does not accept this application or this version of its state.',
  no_target: 'No endpoint may take the session.',
  no_capacity: 'The target has no place left.',
  freeze_failed: 'The source could not freeze the session.',
  transfer_failed: 'The image did not reach the target.',
  thaw_failed: 'The target could not reconstitute the session.',
  image_invalid: 'A session image is damaged, too large or not of a readable version.',
  version_unsupported: 'The other side speaks another major version, or lacks what is asked of it.',
  message_invalid: 'A message does not fit its schema or comes out of turn.',
  not_authenticated: 'The peer has no certificate that the configured authority signed.',
  forbidden: 'The peer is known but not allowed to do this.',
  stale_epoch: 'The message belongs to an ownership that has ended.',
  deadline_exceeded: 'A step took longer than its deadline.',
  peer_lost: 'The connection to the other party ended.',
  closed: 'The object was used after it was closed.',
  client_mismatch: 'A client saw lost, doubled or wrong bytes.',
  internal: 'A state was reached that the program says cannot be.',
} as const;

/** One of the stable codes. */
export type ErrorCode = keyof typeof errorCodes;

/** Codes after which the same call may succeed if tried again. */
const retryableCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'session_busy',
  'session_moving',
  'deadline_exceeded',
  'peer_lost',
  'no_capacity',
]);

/** Plain values that say more than the message; never session bytes, never keys. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | null | readonly string[]>>;

/** Options beside code and message. */
export interface RestitchErrorOptions {
  readonly cause?: unknown;
  readonly details?: ErrorDetails;
  readonly retryable?: boolean;
}

/** The root of every error restitch throws; `message` names what was attempted, with the values. */
export class RestitchError extends Error {
  override readonly name: string = 'RestitchError';
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, options: RestitchErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? retryableCodes.has(code);
    this.details = options.details ?? {};
  }
}

/** True for one of the stable codes, whatever came over the wire. */
export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(errorCodes, value);
}

/** Any thrown value as a RestitchError; foreign errors become `internal` with their cause kept. */
export function toRestitchError(value: unknown, code: ErrorCode = 'internal'): RestitchError {
  if (value instanceof RestitchError) return value;
  const message = value instanceof Error ? value.message : String(value);
  return new RestitchError(code, message, { cause: value });
}
