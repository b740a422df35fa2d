import { describe, expect, it } from 'vitest';
import { afInet } from './socket-address.js';
import { closeFd } from './fd.js';
import { openTcpSocket } from './socket.js';
import { getTcpInfo, parseTcpInfo, tcpState } from './tcp-info.js';

/** TCP_INFO of a loopback connection on Linux 6.18; iproute2's `ss -ti` printed the expected values beside it. */
const golden = Buffer.from(
  '010000000007aa00e01c0300409c000000ba000000ba00000000000000000000000000000000000000000000300100000000' +
    '00003001000030010000ffff000096730300440000005d000000ffffff7f0d000000cbff0000030000006400000000880100' +
    '00000000eaf50d6108000000ffffffffffffffffa186010000000000e0930400000000000b0000000c000000000000001700' +
    '000009000000030000002502db0f000000000000000000000000000000000000000000000000000000000400000000000000' +
    'a08601000000000000000000000000000000000000000000000000000074010000740300000000000000000000000000',
  'hex',
);

describe('parseTcpInfo', () => {
  it('reads what ss reads', () => {
    expect(parseTcpInfo(golden)).toEqual({
      state: tcpState.established,
      retransmits: 0,
      probes: 0,
      backoff: 0,
      hasTimestamps: true,
      hasSack: true,
      hasWscale: true,
      sndWscale: 10,
      rcvWscale: 10,
      rtoUs: 204_000,
      sndMss: 47_616,
      unackedSegments: 0,
      lastDataSentMs: 304,
      lastDataRecvMs: 304,
      lastAckRecvMs: 304,
      rttUs: 68,
      sndCwnd: 13,
      totalRetrans: 0,
      bytesReceived: 300_000,
      segsIn: 12,
      segsOut: 11,
      outOfOrderSegments: 0,
      sndWndBytes: 95_232,
      totalRtos: 0,
    });
  });

  it('leaves undefined what an older kernel does not tell', () => {
    const info = parseTcpInfo(Buffer.alloc(320), 192);
    expect([info.outOfOrderSegments, info.sndWndBytes, info.totalRtos]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('asks the running kernel', () => {
    const fd = openTcpSocket(afInet);
    expect(getTcpInfo(fd).state).toBe(tcpState.close);
    closeFd(fd);
  });
});
