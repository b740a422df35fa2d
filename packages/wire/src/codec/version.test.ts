import { describe, expect, it } from 'vitest';
import { assertVersion, protocolSchema, protocolVersion } from './version.js';

const { major, minor } = protocolVersion;

describe('the version of a peer', () => {
  it('is understood within the same major, older, newer, or not said at all', () => {
    for (const protocol of [{ major, minor: 0 }, protocolVersion, { major, minor: minor + 7 }])
      expect(() => assertVersion({ t: 'hello', protocol }, 'a')).not.toThrow();
    expect(() => assertVersion({ t: 'hello' }, 'a')).not.toThrow();
    expect(protocolSchema.parse(undefined)).toEqual({ major: 1, minor: 0 });
  });

  it.each([major - 1, major + 1])('of major %i is refused, both versions named', (other) => {
    const hello = { t: 'hello', protocol: { major: other, minor: 3 }, shape: 'of another time' };
    expect(() => assertVersion(hello, 'a')).toThrow(
      expect.objectContaining({
        code: 'version_unsupported',
        message: expect.stringMatching(
          new RegExp(`^a speaks protocol ${other}\\.3, this build ${major}\\.${minor}`),
        ),
      }),
    );
  });

  it.each([null, 'x', {}, { major: 1 }, { major: 1.5, minor: 0 }, { major: -1, minor: 0 }])(
    'that is none is refused: %j',
    (protocol) => {
      expect(() => assertVersion({ t: 'hello', protocol }, 'a')).toThrow(
        expect.objectContaining({ code: 'message_invalid' }),
      );
    },
  );
});
