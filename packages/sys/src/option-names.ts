/** Numbers of socket options, named as in the kernel's headers without their case. */

/** Levels. */
export const solSocket = 1;
export const solIp = 0;
export const solTcp = 6;
export const solIpv6 = 41;

/** asm-generic/socket.h */
export const so = {
  reuseaddr: 2,
  error: 4,
  sndbuf: 7,
  rcvbuf: 8,
  keepalive: 9,
  oobinline: 10,
  priority: 12,
  linger: 13,
  rcvlowat: 18,
  attachFilter: 26,
  detachFilter: 27,
  sndbufForce: 32,
  rcvbufForce: 33,
  mark: 36,
  protocol: 38,
  domain: 39,
  incomingCpu: 49,
  maxPacingRate: 47,
  attachBpf: 50,
  meminfo: 55,
  cookie: 57,
  bufLock: 72,
} as const;

/** linux/in.h */
export const ip = { tos: 1, ttl: 2, freebind: 15, xfrmPolicy: 17, transparent: 19 } as const;

/** linux/in6.h */
export const ipv6 = {
  unicastHops: 16,
  v6only: 26,
  xfrmPolicy: 35,
  tclass: 67,
  transparent: 75,
  freebind: 78,
} as const;

/** linux/tcp.h */
export const tcp = {
  nodelay: 1,
  maxseg: 2,
  cork: 3,
  keepidle: 4,
  keepintvl: 5,
  keepcnt: 6,
  linger2: 8,
  windowClamp: 10,
  info: 11,
  quickack: 12,
  congestion: 13,
  md5sig: 14,
  userTimeout: 18,
  /** Linux 6.15. */
  fastopen: 23,
  rtoMaxMs: 44,
  repair: 19,
  repairQueue: 20,
  queueSeq: 21,
  repairOptions: 22,
  timestamp: 24,
  notsentLowat: 25,
  repairWindow: 29,
  ulp: 31,
  aoInfo: 40,
  isMptcp: 43,
} as const;

/** TCP_REPAIR */
export const repairMode = { off: 0, on: 1, offNoWindowProbe: -1 } as const;

/** TCP_REPAIR_QUEUE */
export const repairQueue = { none: 0, receive: 1, send: 2 } as const;
