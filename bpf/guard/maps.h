/* Every map, with its key, its value, who writes and who reads. All are pinned: the guard outlives every process. */
#pragma once
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include "../common/flow-key.h"
#include "consts.h"

struct guard_flow {
	struct bpf_spin_lock lock;
	__u32 flags;
	__u32 epoch;
	__u32 lease;         /* index into leases */
	__u32 committed;     /* highest acknowledgement that may leave */
	__u32 sent_end;      /* highest sequence number sent, FIN counted: an acknowledgement with an older one is ignored */
	__u32 withheld_ack;
	__u32 ifindex;       /* where the newest packet left */
	__u64 withheld_since_ns; /* CLOCK_MONOTONIC; 0: nothing is withheld */
	__u64 withheld;
	__u64 emitted;
	__u64 rewritten;
	__u64 dropped;
	__u16 header_bytes;
	__u8 l3_offset;
	__u8 l4_offset;
	__u8 window_scale;   /* of the windows we announce */
	__u8 reserved[3];
	__u32 fin_seq;       /* where our FIN may stand, with FLAG_ENDED: behind the last byte the application has promised */
	__u32 birth;         /* tells a connection from an earlier one on the same ports; 0: not known */
	__u64 header[HEADER_WORDS]; /* newest header whose acknowledgement was lowered or kept back */
};

/*
 * Key: flow. Value: what is guarded and what is withheld. Written by both programs under the entry's lock, never by
 * bpf(2): an overwrite would lose what is withheld. Read by user space in batches. Not preallocated.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct flow_key);
	__type(value, struct guard_flow);
	__uint(max_entries, 65536);
} guard_flows SEC(".maps");

struct half_open_flow {
	__u32 committed;
	__u32 sent_end;
	__u32 window_scale;
};

/* Key: flow. Value: what its SYN-ACK said. Written and read by the egress program. LRU: a SYN flood evicts its like. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct flow_key);
	__type(value, struct half_open_flow);
	__uint(max_entries, 16384);
} guard_half_open SEC(".maps");

struct listener_key {
	__u32 vip[4];
	__u16 port; /* network order */
	__u16 reserved;
};

struct listener_value {
	__u32 flags;
	__u32 lease;
};

/* Key: VIP and port. Value: what its connections get from their SYN on. Written by the agent, read by the egress program. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct listener_key);
	__type(value, struct listener_value);
	__uint(max_entries, 256);
} guard_listeners SEC(".maps");

/*
 * Key: lease. Value: CLOCK_MONOTONIC nanoseconds at which it ends; 0 is ended. Written by the agent, read by the egress
 * program. Lease 0 belongs to nobody and never ends (set when the maps are made).
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, MAX_LEASES);
} guard_leases SEC(".maps");

/* Key: enum guard_verdict. Value: packets. Written by both programs, read by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, VERDICT_COUNT);
} guard_verdicts SEC(".maps");

/* One call of the control program: behind 14 bytes in which an Ethernet header could stand. */
struct guard_command {
	struct flow_key flow;
	__u32 op;
	__u32 epoch;
	__u32 flags;
	__u32 lease;
	__u32 committed;
	__u32 sent_end;
	__u32 window_scale;
	__u32 fin_seq;
	__u32 birth;
};

static __always_inline void count(__u32 verdict)
{
	__u64 *packets = bpf_map_lookup_elem(&guard_verdicts, &verdict);

	if (packets)
		*packets += 1;
}

static __always_inline int is_leased(__u32 lease)
{
	__u64 *ends = bpf_map_lookup_elem(&guard_leases, &lease);

	return ends && bpf_ktime_get_ns() < *ends;
}

/*
 * FLAG_FINISHES if an end under these flags is this kernel's to finish. While the lease runs nobody has gone on, and nobody
 * will: its buddy knows of the end. Without it (level none has no buddy) an owner may have slept through its take-over.
 */
static __always_inline __u32 finishes(__u32 flags, __u32 lease)
{
	if (!(flags & FLAG_ENDED) || (flags & FLAG_GATE))
		return 0;
	return (flags & FLAG_RESET_ON_FIN) || is_leased(lease) ? FLAG_FINISHES : 0;
}
