import { describe, expect, it } from 'vitest';
import { parseFromApplication, parseToApplication } from './agent-protocol.js';

const join = { t: 'join', name: 'a', instance: 'i1' };
const joined = { t: 'joined', lease: 3, pinDirectory: '/run/restitch-bpf' };

describe('the first word between application and host agent', () => {
  it('without a version is of 1.0, as those of before', () => {
    const protocol = { major: 1, minor: 0 };
    expect(parseFromApplication(JSON.stringify(join))).toEqual({ ...join, protocol });
    expect(parseToApplication(JSON.stringify(joined))).toEqual({ ...joined, protocol });
  });

  it('of another minor is understood', () => {
    const protocol = { major: 1, minor: 42 };
    expect(parseFromApplication(JSON.stringify({ ...join, protocol, later: 1 }))).toEqual({
      ...join,
      protocol,
    });
    expect(parseToApplication(JSON.stringify({ ...joined, protocol }))).toEqual({ ...joined, protocol });
  });

  it('of another major is refused by name', () => {
    const protocol = { major: 2, minor: 0 };
    expect(() => parseFromApplication(JSON.stringify({ t: 'join', protocol }))).toThrow(
      /^the application speaks protocol 2\.0, this build 1\./,
    );
    expect(() => parseToApplication(JSON.stringify({ t: 'joined', protocol }))).toThrow(
      expect.objectContaining({ code: 'version_unsupported' }),
    );
  });

  it('may be a refusal with its code, or without', () => {
    const refused = { t: 'refused', message: 'no' };
    expect(parseToApplication(JSON.stringify(refused))).toEqual(refused);
    expect(parseToApplication(JSON.stringify({ ...refused, code: 'no_capacity' }))).toMatchObject({
      code: 'no_capacity',
    });
  });

  it.each(['', '[]', '{"t":"dance"}', '{"t":"join","name":"a"}'])(
    'is refused where it does not fit: %s',
    (line) => {
      expect(() => parseFromApplication(line)).toThrow(expect.objectContaining({ code: 'message_invalid' }));
    },
  );
});
