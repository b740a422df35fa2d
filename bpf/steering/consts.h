/*
 * Numbers that user space shares or pinned maps keep are enums, because BTF has enums and no #define; of at most 32 bits,
 * because clang 14 cuts wider ones without a word. scripts/generate-layouts.mjs makes TypeScript of them, and of maps.h.
 * What the programs alone go by is a #define.
 */
#pragma once

/* Raised with any change of what pinned maps hold; part of the pins' path, so that another version's maps are never read wrongly. */
enum layout {
	LAYOUT_VERSION = 1,
};

enum bound {
	MAGLEV_SIZE = 65537, /* prime; 655 times the 100 endpoints for which 1 % extra disruption is promised */
	MAX_SERVICES = 256,
	MAX_ENDPOINTS = 4096, /* ids are 1 ... MAX_ENDPOINTS - 1 */
	MAX_FRAGMENTS = 8192,
	MAX_COMMANDS = 256, /* commands of one call of the control program */
};

/* Widths of struct record_word. */
#define EPOCH_BITS 24
#define OWNER_BITS 16
#define OUTSTANDING_BITS 16
#define STATE_BITS 8
#define OUTSTANDING_MAX ((1U << OUTSTANDING_BITS) - 1)

/* Tries of one compare-and-set: contention comes from a few CPUs, more than this means a bug. */
#define CAS_TRIES 16

#define HOLD_GRACE_NS 50000000ULL /* frames of a hold that has run out come back within this, or died in the hold device */

enum flow_state {
	STATE_ACTIVE = 1,
	STATE_HOLD = 2,
	STATE_FROZEN = 3,
	STATE_RELEASING = 4,
	STATE_CLOSING = 5,
};

/* Of flow_value.flags. */
enum record_flag {
	FLAG_SAW_RESET = 1, /* the client has sent RST */
};

enum forward_action {
	ACTION_NONE = 0, /* no such endpoint */
	ACTION_L2 = 1,
};

/* What became of a packet. The comment is what docs and `stats` mean by it. */
enum verdict {
	VERDICT_PASS,            /* not for a service: to the host, untouched */
	VERDICT_STEERED,         /* to the owner in the flow's record */
	VERDICT_SYN,             /* half-open: to the endpoint Maglev chose */
	VERDICT_PROMOTED,        /* the client's ACK made the record */
	VERDICT_FALLBACK,        /* unknown flow, not a SYN: to Maglev's choice, no record made */
	VERDICT_HELD,            /* into the hold device */
	VERDICT_RELEASED,        /* out of the hold device to the owner */
	VERDICT_ICMP,            /* an ICMP error to the owner of the flow it speaks of */
	VERDICT_DROP_REBUILDING, /* unknown flow while ownership is being rebuilt */
	VERDICT_DROP_NO_BACKEND, /* the service has no endpoint that takes new flows */
	VERDICT_DROP_NO_TARGET,  /* the owner is gone or its MAC is not known */
	VERDICT_DROP_TABLE_FULL, /* SYN refused: no room for another flow */
	VERDICT_DROP_HOLD_FULL,  /* over the bounds of holding */
	VERDICT_DROP_FROZEN,     /* frozen past its deadline */
	VERDICT_DROP_FRAGMENT,   /* later fragment whose first was not seen */
	VERDICT_DROP_ICMP,       /* ICMP error that belongs to no known flow */
	VERDICT_DROP_CONTENDED,  /* compare-and-set failed too often */
	VERDICT_TABLE_FULL,      /* counted beside another verdict: the record could not be made, served from half-open */
	VERDICT_COUNT,
};

enum command_op {
	OP_CLAIM = 1,
	OP_HOLD = 2,
	OP_FREEZE = 3,
	OP_SWITCH = 4,
	OP_RELEASE = 5,
	OP_CLOSE = 6,
	OP_REMOVE = 7,
	OP_SETTLE = 8, /* releasing with nothing outstanding becomes active */
	OP_FORGET = 9, /* held frames died with the hold device: outstanding becomes 0 */
	OP_EXPIRE = 10, /* remove if closing and past the deadline */
	OP_RESET_HELD = 11, /* of no flow: nothing is held any more */
};

enum command_result {
	RESULT_OK = 0,
	RESULT_STALE = 1,
	RESULT_ABSENT = 2,
	RESULT_PHASE = 3,
	RESULT_FULL = 4,
};
