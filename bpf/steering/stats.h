/* Counting: a verdict per packet, packets and bytes per flow and per endpoint. */
#pragma once
#include "maps.h"

static __always_inline void count_verdict(__u32 verdict)
{
	__u64 *count = bpf_map_lookup_elem(&verdicts, &verdict);

	if (count)
		*count += 1;
}

/* A GSO super-packet counts as the packets it stands for. */
static __always_inline __u64 count_packets(struct __sk_buff *skb)
{
	return skb->gso_segs > 1 ? skb->gso_segs : 1;
}

static __always_inline void count_endpoint(struct __sk_buff *skb, __u32 endpoint)
{
	struct endpoint_counters *counters = bpf_map_lookup_elem(&endpoint_stats, &endpoint);

	if (counters) {
		counters->packets += count_packets(skb);
		counters->bytes += skb->len;
	}
}

static __always_inline void count_flow(struct __sk_buff *skb, struct flow_value *record)
{
	record->last_seen_ns = bpf_ktime_get_coarse_ns();
	__sync_fetch_and_add(&record->packets, count_packets(skb));
	__sync_fetch_and_add(&record->bytes, skb->len);
}
