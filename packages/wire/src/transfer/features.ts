/**
 * What a build can do with images. Endpoints say it in their hello and when a place is reserved; the source of a move compares
 * it with what its image needs, before anything is frozen. A name never changes its meaning; a layer above TCP brings a name
 * of its own, and an image needs it if that layer is in it.
 */
import { RestitchError } from '@restitch/core';

/** This build's: images of version 1, sockets taken apart and rebuilt with TCP_REPAIR. */
export const imageFeatures = ['image-1', 'tcp-repair'] as const;
type ImageFeature = (typeof imageFeatures)[number];

/** What every image of this build needs. */
export const plainImageNeeds: readonly ImageFeature[] = ['image-1', 'tcp-repair'];

/**
 * Throws `version_unsupported` naming what the target lacks. `offered` is undefined behind an access point of 1.0, which does not
 * hand it on: every target takes plain images, and of nothing else is it known.
 */
export function assertOffered(
  needed: readonly string[],
  offered: readonly string[] | undefined,
  who: { readonly session: string; readonly target: string },
): void {
  const missing = needed.filter((feature) => !(offered ?? plainImageNeeds).includes(feature));
  if (missing.length === 0) return;
  throw new RestitchError(
    'version_unsupported',
    `session ${who.session}: ${who.target} cannot take its image, it lacks ${missing.join(', ')}: update ${who.target}`,
    { details: { missing, target: who.target } },
  );
}
