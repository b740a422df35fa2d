import { RestitchError } from '@restitch/core';
import { describe, expect, it } from 'vitest';
import { Fd, closeFd, duplicateFd } from './fd.js';
import { SyscallError, addressOf, errno, openLibrary, readCString } from './libc.js';
import { afInet } from './socket-address.js';
import { openTcpSocket } from './socket.js';

describe('a failed call', () => {
  it('names call, errno and descriptor', () => {
    const thrown = (() => {
      try {
        closeFd(987_654);
      } catch (error) {
        return error;
      }
      return undefined;
    })();
    expect(thrown).toBeInstanceOf(SyscallError);
    expect(thrown).toMatchObject({
      code: 'syscall_failed',
      syscall: 'close',
      errno: errno.EBADF,
      errnoName: 'EBADF',
      fd: 987_654,
    });
  });
});

describe('memory', () => {
  it('is where its address says', () => {
    expect(readCString(addressOf(Buffer.from('restitch\0', 'latin1')))).toBe('restitch');
  });

  it('a library that is not installed is named', () => {
    expect(() => openLibrary('librestitch-none.so.9')).toThrow(
      expect.objectContaining({ code: 'unsupported_host', details: { soname: 'librestitch-none.so.9' } }),
    );
  });
});

describe('Fd', () => {
  it('closes once and tells who uses it afterwards', () => {
    const fd = new Fd(openTcpSocket(afInet));
    const number = fd.value;
    fd.close();
    fd.close();
    expect(fd.isOpen).toBe(false);
    expect(() => fd.value).toThrow(RestitchError);
    expect(() => closeFd(number)).toThrow(/EBADF/);
  });

  it('gives its descriptor away', () => {
    const fd = new Fd(openTcpSocket(afInet));
    const number = fd.disown();
    fd.close();
    const copy = duplicateFd(number);
    expect(copy).not.toBe(number);
    closeFd(copy);
    closeFd(number);
  });
});
