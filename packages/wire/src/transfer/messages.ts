/** What source and target say on a state connection: source dials target, one per pair, and sends images. */
import { z } from 'zod';
import { failure } from '../codec/failure.js';
import { epochSchema, id, name } from '../codec/fields.js';
import { type OrdinaryCheck, withOrdinaryCheck } from '../codec/parse-message.js';
import { isBytes, isEpoch, isFields, isId, kindOf } from '../codec/plain-checks.js';
import { protocolSchema } from '../codec/version.js';

/** Accepts images by hand: the packets of the flow are held meanwhile. */
export const isOrdinaryToTarget: OrdinaryCheck = (value) =>
  kindOf(value) === 'image' &&
  isFields(value, 4) &&
  isId(value['moveId']) &&
  isEpoch(value['epoch']) &&
  isBytes(value['image']);

/** Source → target, on the state connection. */
export const toTargetSchema = withOrdinaryCheck(
  z.discriminatedUnion('t', [
    z.object({
      t: z.literal('state-hello'),
      protocol: protocolSchema,
      name,
      /** What follows: images (without it), or an owner's commits. */
      purpose: z.literal('replication').optional(),
    }),
    z.object({
      t: z.literal('image'),
      moveId: id,
      epoch: epochSchema,
      image: z.custom<Uint8Array>((v) => v instanceof Uint8Array, 'expected bytes'),
    }),
  ]),
  isOrdinaryToTarget,
);
/** Source → target. */
export type ToTarget = z.infer<typeof toTargetSchema>;

/** Target → source. */
export const toSourceSchema = z.discriminatedUnion('t', [
  z.object({
    t: z.literal('state-welcome'),
    protocol: protocolSchema,
    name,
  }),
  z.object({ t: z.literal('image-refused'), moveId: id, failure }),
]);
/** Target → source. */
export type ToSource = z.infer<typeof toSourceSchema>;
