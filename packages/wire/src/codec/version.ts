/**
 * Which version of the messages a peer speaks. The first message of each side of every channel says it, in `protocol`; a peer
 * that does not is from before that rule, and speaks 1.0.
 *
 * Majors must match. Within one, whoever is newer leaves out nothing that the older needs, and the older leaves what it does
 * not know: so a minor is never a reason to refuse, and features say what may be asked of whom.
 */
import { RestitchError } from '@restitch/core';
import { z } from 'zod';

/** A version of the messages. */
export interface ProtocolVersion {
  readonly major: number;
  readonly minor: number;
}

/** What this build speaks. 1.1: the host agent's channel says its version too, and a source is told what its target can do. */
export const protocolVersion: ProtocolVersion = { major: 1, minor: 1 };

const unsaid: ProtocolVersion = { major: 1, minor: 0 };

const versionSchema = z.object({
  major: z.number().int().min(0).max(0xffff),
  minor: z.number().int().min(0).max(0xffff),
});
/** The version in a first message. */
export const protocolSchema = versionSchema.default({ ...unsaid });

/**
 * To be asked of a peer's first message before its schema: of another major, only `t` and `protocol` are sure to be where they
 * are. Throws `version_unsupported` with both versions, `message_invalid` for a version that is none.
 */
export function assertVersion(first: unknown, peer: string): void {
  const said =
    typeof first === 'object' && first !== null && 'protocol' in first ? first.protocol : undefined;
  const version = protocolSchema.safeParse(said);
  if (!version.success) {
    throw new RestitchError('message_invalid', `message from ${peer} refused: protocol: no version`);
  }
  const { major, minor } = version.data;
  if (major === protocolVersion.major) return;
  const own = formatVersion(protocolVersion);
  throw new RestitchError(
    'version_unsupported',
    `${peer} speaks protocol ${major}.${minor}, this build ${own}: update the older of both`,
    { details: { theirs: `${major}.${minor}`, ours: own } },
  );
}

/** As people read it. */
export function formatVersion({ major, minor }: ProtocolVersion): string {
  return `${major}.${minor}`;
}
