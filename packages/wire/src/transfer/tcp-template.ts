/** What never changes of a socket, so that it can be rebuilt without its source. */
import { z } from 'zod';
import { u32 } from '../codec/fields.js';
import { tcpImageSchema } from './image.js';

/** What a socket says of itself once, at accept or after a thaw. */
export const tcpTemplateSchema = tcpImageSchema
  .pick({
    mssClamp: true,
    sndWscale: true,
    rcvWscale: true,
    hasWscale: true,
    hasSack: true,
    hasTimestamps: true,
    timestamp: true,
    window: true,
    options: true,
    congestion: true,
  })
  .extend({
    /** Sequence number of input offset 0 and of output offset 0. */
    clientStart: u32,
    serverStart: u32,
    /** Wall time of `timestamp`: the buddy is another machine. */
    readAtMs: z.number(),
  });
/** What a socket says of itself once, at accept or after a thaw. */
export type TcpTemplate = Readonly<z.infer<typeof tcpTemplateSchema>>;
