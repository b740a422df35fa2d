/** The listener's word on a peer's certificate, before anything else is said on a channel. */
import { z } from 'zod';

/** Listener → dialler, the first message of every channel over TLS. */
export const admissionSchema = z.discriminatedUnion('t', [
  z.object({ t: z.literal('accepted') }),
  z.object({
    t: z.literal('refused'),
    /** Of docs/errors.md. */
    code: z.string().max(64),
    /** A finer one, in one word. */
    reason: z.string().max(64).optional(),
  }),
]);
/** Listener → dialler. */
export type Admission = z.infer<typeof admissionSchema>;
