/**
 * The session stability score: the probability that a session stays undisturbed for the horizon where it is.
 * score = Π(1 − p_k) over the named causes; the risk 1 − score is shared among them in proportion to −ln(1 − p_k), the only
 * split that does not depend on the order in which causes are looked at and adds up.
 */

/** What may disturb a session. */
export type Cause = 'load' | 'failure' | 'path' | 'client' | 'event';

/** All causes in the order they are listed. */
export const CAUSES: readonly Cause[] = ['load', 'failure', 'path', 'client', 'event'];

/** A probability in [0, 1], or that nothing can be said. */
export type Risk = number | 'unknown';

/** One risk a cause. */
export type CauseRisks = Readonly<Record<Cause, Risk>>;

/** The score and why. */
export interface StabilityScore {
  /** In [0, 1]; only known causes enter. */
  readonly score: number;
  /** Known causes with their part of the risk; the parts sum to 1 − score. */
  readonly contributions: readonly { readonly cause: Cause; readonly risk: number; readonly share: number }[];
  /** Causes about which nothing is known; they are not counted as safe, they are listed. */
  readonly unknown: readonly Cause[];
}

/** Scores a session. A probability that is not a number is unknown; one outside [0, 1] is cut to it. */
export function scoreStability(risks: CauseRisks): StabilityScore {
  const unknown: Cause[] = [];
  const known: { cause: Cause; risk: number; weight: number }[] = [];
  for (const cause of CAUSES) {
    const risk = risks[cause];
    if (risk === 'unknown' || Number.isNaN(risk)) unknown.push(cause);
    else {
      const p = Math.max(0, Math.min(1, risk));
      known.push({ cause, risk: p, weight: -Math.log1p(-p) });
    }
  }
  const certain = known.filter((k) => k.weight === Number.POSITIVE_INFINITY).length;
  const sum = known.reduce((total, k) => total + k.weight, 0);
  // expm1 keeps the digits of a small risk that 1 − exp(…) would lose.
  const total = certain > 0 ? 1 : -Math.expm1(-sum);
  const contributions = known.map(({ cause, risk, weight }) => ({
    cause,
    risk,
    share:
      certain > 0
        ? weight === Number.POSITIVE_INFINITY
          ? 1 / certain
          : 0
        : sum === 0
          ? 0
          : total * (weight / sum),
  }));
  return { score: 1 - total, contributions, unknown };
}

/** The score alone, for millions of sessions: the same product without the explanation; NaN risks are skipped. */
export function stabilityOf(
  load: number,
  failure: number,
  path: number,
  client: number,
  event: number,
): number {
  let product = 1;
  if (load === load) product *= 1 - Math.max(0, Math.min(1, load));
  if (failure === failure) product *= 1 - Math.max(0, Math.min(1, failure));
  if (path === path) product *= 1 - Math.max(0, Math.min(1, path));
  if (client === client) product *= 1 - Math.max(0, Math.min(1, client));
  if (event === event) product *= 1 - Math.max(0, Math.min(1, event));
  return product;
}
