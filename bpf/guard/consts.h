/* Shared and pinned numbers are enums, the programs' own are #defines: see ../steering/consts.h. */
#pragma once

/* Raised with any change of what pinned maps hold or a command says; part of the pins' path. */
enum guard_layout {
	LAYOUT_VERSION = 3,
};

enum guard_bound {
	MAX_LEASES = 1024, /* guarded processes on one host; lease 0 is nobody's and never ends */
	HEADER_WORDS = 16, /* 128 bytes: Ethernet 14, two VLAN tags 8, IPv6 40, TCP 60 and room */
	COMMAND_AT = 14, /* a command stands behind the place of an Ethernet header, because the test run wants a frame */
};

/* Behind a header on the stack: 60 bytes may be read from offset 82, and before 6.3 nothing unwritten may be read. */
#define HEADER_ROOM_WORDS 2

/* What is done for a flow. */
enum guard_flag {
	FLAG_GUARD = 1, /* a FIN that is not at the end, and RST, are dropped while somebody could go on */
	FLAG_GATE = 2, /* nothing above `committed` is acknowledged, until the end of the connection */
	FLAG_ENDED = 4, /* the application's end stands: our FIN may be at `fin_seq`, and nowhere else */
	FLAG_RESET_ON_FIN = 8, /* level none: a FIN the application did not ask for becomes a RST, no silent truncation */
	FLAG_MAY_RESET = 16, /* the application, or restitch by name, ends it by RST */
	FLAG_FINISHES = 32, /* below commit, ended while the lease ran: this host's kernel finishes it, lease or no lease */
};

/* What became of a packet. */
enum guard_verdict {
	VERDICT_PASS,           /* nothing to change */
	VERDICT_REWRITTEN,      /* acknowledgement lowered to the committed byte */
	VERDICT_WITHHELD,       /* pure acknowledgement above the committed byte kept back */
	VERDICT_EMITTED,        /* kept acknowledgement sent by a commit */
	VERDICT_DROP_FIN,       /* FIN the application did not ask for */
	VERDICT_DROP_RST,       /* RST the application did not ask for */
	VERDICT_DROP_LEASE,     /* the lease had ended */
	VERDICT_DROP_UNKNOWN,   /* acknowledgement of a gated listener's flow that has no entry yet */
	VERDICT_RESET,          /* FIN turned into RST */
	VERDICT_TABLE_FULL,     /* no room for the flow: it is not acknowledged, so nothing is promised */
	VERDICT_EMIT_FAILED,    /* the interface refused a kept acknowledgement; the next one repairs it */
	VERDICT_COUNT,
};

enum guard_op {
	OP_REGISTER = 1, /* make the entry, or change it under a newer epoch; flags, lease, committed */
	OP_COMMIT = 2,   /* raise `committed`, send what was withheld up to it */
	OP_END = 3,      /* our FIN may stand at `fin_seq` */
	OP_REMOVE = 4,
	OP_RESET = 5,    /* RST may pass */
	OP_MOVED = 6,    /* served elsewhere: nothing that stray packets draw may leave */
};

enum guard_result {
	RESULT_OK = 0,
	RESULT_EMITTED = 1,
	RESULT_STALE = 2,  /* another epoch */
	RESULT_ABSENT = 3,
	RESULT_FULL = 4,
	RESULT_INVALID = 5,
};
