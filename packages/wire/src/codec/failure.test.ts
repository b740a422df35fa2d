import { RestitchError } from '@restitch/core';
import { describe, expect, it } from 'vitest';
import { fromFailure, toFailure } from './failure.js';

describe('an error', () => {
  it('travels with code, message and details, an unknown code as internal', () => {
    const error = new RestitchError('no_capacity', 'endpoint b is full', { details: { sessions: 7 } });
    expect(fromFailure(toFailure(error))).toMatchObject({
      code: 'no_capacity',
      message: error.message,
      details: { sessions: 7 },
    });
    expect(fromFailure({ code: 'of_the_future', message: 'm' }).code).toBe('internal');
    expect(fromFailure({ code: 'constructor', message: 'm' }).code).toBe('internal');
    expect(toFailure(new RestitchError('internal', 'x'.repeat(5000))).message).toHaveLength(1000);
  });
});
