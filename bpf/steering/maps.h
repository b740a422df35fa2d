/* Every map, with its key, its value, who writes and who reads. All are pinned; any change needs another LAYOUT_VERSION. */
#pragma once
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include "../common/flow-key.h"
#include "consts.h"

/* What decides about a flow. From the lowest bit on, as the compiler places bit fields on a little-endian machine. */
struct record_word {
	__u64 epoch : EPOCH_BITS;
	__u64 owner : OWNER_BITS;
	__u64 outstanding : OUTSTANDING_BITS; /* held frames under way */
	__u64 state : STATE_BITS; /* enum flow_state */
};

struct flow_value {
	__u64 word; /* struct record_word; read once per packet, changed by compare-and-set alone */
	__u64 deadline_ns; /* CLOCK_MONOTONIC; of hold, frozen, releasing or closing */
	__u64 last_seen_ns; /* CLOCK_MONOTONIC, coarse */
	__u64 packets;
	__u64 bytes;
	__u32 flags;
	__u32 hold_tag; /* what user space sorts held frames by; 0 before the first hold */
	__u32 held_bytes;
	__u32 reserved;
};

/*
 * Key: flow. Value: its record, the one commit point of a move.
 * Written: inserted by steering (promotion of a half-open flow) and by control; changed by control and, for outstanding
 * frames and counters, by steering; deleted by both. Never by bpf(2): an overwrite would lose counters and fencing.
 * Read: steering, control; user space in batches. Not preallocated: a million possible flows must not cost 150 MB.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct flow_key);
	__type(value, struct flow_value);
	__uint(max_entries, 131072);
} flows SEC(".maps");

struct half_open_value {
	__u32 endpoint;
	__u32 reserved;
};

/* Key: flow. Value: where its SYN went. Written and read by steering. LRU, so that a SYN flood evicts only its like. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct flow_key);
	__type(value, struct half_open_value);
	__uint(max_entries, 65536);
} half_open SEC(".maps");

struct fragment_key {
	__u32 source[4];
	__u32 destination[4];
	__u32 id;
	__u32 protocol;
};

struct fragment_value {
	__u16 client_port;
	__u16 vip_port;
};

/* Key: a fragmented datagram. Value: the ports its first fragment had. Written and read by steering. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct fragment_key);
	__type(value, struct fragment_value);
	__uint(max_entries, MAX_FRAGMENTS);
} fragments SEC(".maps");

struct address {
	__u32 words[4];
};

/* Key: address of a VIP. Value: 1. Written by user space, read by steering (later fragments have no port). */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct address);
	__type(value, __u32);
	__uint(max_entries, MAX_SERVICES);
} vips SEC(".maps");

struct service_key {
	__u32 vip[4];
	__u16 port; /* network order */
	__u16 reserved;
};

struct service_value {
	__u32 table; /* index into maglev_tables */
	__u32 backends; /* 0: new flows are refused */
};

/* Key: VIP and port. Value: its Maglev table. Written by user space, read by steering. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct service_key);
	__type(value, struct service_value);
	__uint(max_entries, MAX_SERVICES);
} services SEC(".maps");

struct maglev_slots {
	__u32 endpoints[MAGLEV_SIZE];
};

struct maglev_table {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__uint(value_size, sizeof(struct maglev_slots)); /* libbpf finds no size of an inner type by name */
	__uint(max_entries, 1);
};

/*
 * Key: table of a service. Value: a map with one element, all slots with their endpoint ids: filled by one system call
 * (an element per slot takes 30 ms). User space fills a new inner map and swaps it in at once. Read by steering.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, MAX_SERVICES);
	__array(values, struct maglev_table);
} maglev_tables SEC(".maps");

struct endpoint_value {
	__u8 destination[6];
	__u16 action; /* enum forward_action */
	__u8 source[6];
	__u16 has_mac;
	__u32 ifindex;
	__u32 reserved;
};

/* Key: endpoint id. Value: how to forward to it. Written by user space (8 bytes at a time, so a MAC never tears), read by steering. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct endpoint_value);
	__uint(max_entries, MAX_ENDPOINTS);
} endpoints SEC(".maps");

struct endpoint_counters {
	__u64 packets;
	__u64 bytes;
};

/* Key: endpoint id. Value: what was forwarded to it. Written by steering, read by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct endpoint_counters);
	__uint(max_entries, MAX_ENDPOINTS);
} endpoint_stats SEC(".maps");

/* Key: enum verdict. Value: packets. Written by steering, read by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, VERDICT_COUNT);
} verdicts SEC(".maps");

struct settings {
	__u32 rebuilding;
	__u32 hold_ifindex; /* 0: no hold device, packets to be held are dropped */
	__u32 hash_seed; /* random, so that clients cannot choose their endpoint */
	__u32 max_flows;
	__u32 hold_flow_bytes;
	__u32 hold_frames; /* below the queue of the hold device, which must never overflow */
	__u64 hold_total_bytes;
};

/* Key: 0. Value: settings. Written by user space, read by both programs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct settings);
	__uint(max_entries, 1);
} settings_map SEC(".maps");

struct gauges {
	__u64 flows;
	__u64 held_bytes;
	__u64 held_frames;
};

/* Key: 0. Value: sums that both programs keep by atomic additions. User space reads, and resets the held ones with a new hold device. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct gauges);
	__uint(max_entries, 1);
} gauges_map SEC(".maps");

struct command {
	struct flow_key flow;
	__u32 op; /* enum command_op */
	__u32 epoch; /* what the record must say */
	__u32 new_epoch;
	__u32 endpoint;
	__u32 hold_tag; /* in: a fresh one; out: the flow's */
	__u64 deadline_ns;
	__u32 result; /* out: enum command_result */
	__u32 reserved;
	__u64 word; /* out: the record's word afterwards */
};

struct command_batch {
	struct command commands[MAX_COMMANDS];
};

/* Key: 0. Value: the commands of the next call of the control program and their results. User space maps it into its memory. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct command_batch);
	__uint(max_entries, 1);
} command_map SEC(".maps");
