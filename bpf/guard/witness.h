/* The map of witness.bpf.c, pinned beside those of maps.h. */
#pragma once
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

struct witness {
	__u32 expected_seq; /* where the client's stream stands if nothing came since, its FIN counted */
	__u32 expected_ack; /* the last byte that was promised to it */
	__u32 agreeing;
	__u32 contradicting;
	__u32 seq; /* furthest the client has told of itself */
	__u32 ack;
	__u32 seen;
};

/* Key: SO_COOKIE. Value: what to expect and what came. Made and read by user space, counted here. LRU: whoever dies leaves its own. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, __u64);
	__type(value, struct witness);
	__uint(max_entries, 16384);
} guard_witnesses SEC(".maps");
