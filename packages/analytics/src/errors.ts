/** Errors of this package; a plain class until a caller needs to branch on more than the code. */

/** Stable codes: `bad_input` for data or options that cannot be used, `bad_model` for a stored model that cannot be read. */
export type AnalyticsErrorCode = 'bad_input' | 'bad_model';

/** Thrown by this package only; the message says what was attempted, with the values. */
export class AnalyticsError extends Error {
  override readonly name = 'AnalyticsError';
  constructor(
    readonly code: AnalyticsErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
