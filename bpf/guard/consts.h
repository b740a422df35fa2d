/* Numbers that the programs and user space share; src/kernel/layout.ts repeats them and layout.test.ts compares both. */
#pragma once

#define MAX_LEASES 1024 /* guarded processes on one host */
#define HEADER_WORDS 16 /* 128 bytes: Ethernet 14, two VLAN tags 8, IPv6 40, TCP 60 and room */
/* Behind a header on the stack: 60 bytes may be read from offset 82, and before 6.3 nothing unwritten may be read. */
#define HEADER_ROOM_WORDS 2

/* What is done for a flow. */
#define FLAG_GUARD 1        /* a FIN that is not at the end, and RST, are dropped while somebody could go on */
#define FLAG_GATE 2         /* nothing above `committed` is acknowledged, until the end of the connection */
#define FLAG_ENDED 4        /* the application's end stands: our FIN may be at `fin_seq`, and nowhere else */
#define FLAG_RESET_ON_FIN 8 /* level none: a FIN the application did not ask for becomes a RST, no silent truncation */
#define FLAG_MAY_RESET 16   /* the application, or restitch by name, ends it by RST */
#define FLAG_FINISHES 32    /* below commit, ended while the lease ran: this host's kernel finishes it, lease or no lease */

/* What became of a packet. */
enum guard_verdict {
	GUARD_PASS,           /* nothing to change */
	GUARD_REWRITTEN,      /* acknowledgement lowered to the committed byte */
	GUARD_WITHHELD,       /* pure acknowledgement above the committed byte kept back */
	GUARD_EMITTED,        /* kept acknowledgement sent by a commit */
	GUARD_DROP_FIN,       /* FIN the application did not ask for */
	GUARD_DROP_RST,       /* RST the application did not ask for */
	GUARD_DROP_LEASE,     /* the lease had ended */
	GUARD_DROP_UNKNOWN,   /* acknowledgement of a gated listener's flow that has no entry yet */
	GUARD_RESET,          /* FIN turned into RST */
	GUARD_TABLE_FULL,     /* no room for the flow: it is not acknowledged, so nothing is promised */
	GUARD_EMIT_FAILED,    /* the interface refused a kept acknowledgement; the next one repairs it */
	GUARD_VERDICT_COUNT,
};

enum guard_op {
	GUARD_OP_REGISTER = 1, /* make the entry, or change it under a newer epoch; flags, lease, committed */
	GUARD_OP_COMMIT = 2,   /* raise `committed`, send what was withheld up to it */
	GUARD_OP_END = 3,      /* our FIN may stand at `fin_seq` */
	GUARD_OP_REMOVE = 4,
	GUARD_OP_RESET = 5,    /* RST may pass */
	GUARD_OP_MOVED = 6,    /* served elsewhere: nothing that stray packets draw may leave */
};

enum guard_result {
	GUARD_OK = 0,
	GUARD_OK_EMITTED = 1,
	GUARD_STALE = 2,  /* another epoch */
	GUARD_ABSENT = 3,
	GUARD_FULL = 4,
	GUARD_INVALID = 5,
};
