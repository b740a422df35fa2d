/*
 * The one way a packet leaves for an endpoint; nobody else knows how endpoints are reached. There is one action besides none:
 * forward() sends whatever is not ACTION_NONE by layer 2. Another way (encapsulation) needs another enum forward_action, and
 * the first branch on it in forward().
 */
#pragma once
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include "stats.h"

static __always_inline int drop(__u32 verdict)
{
	count_verdict(verdict);
	return TC_ACT_SHOT;
}

/* Layer-2 direct return. Both MACs: with the client's as source, a bridge would learn the client on the wrong port. */
static __always_inline int forward_l2(struct __sk_buff *skb, struct endpoint_value *endpoint)
{
	struct ethhdr *eth = (void *)(long)skb->data;

	if ((void *)(eth + 1) > (void *)(long)skb->data_end)
		return TC_ACT_SHOT;
	__builtin_memcpy(eth->h_dest, endpoint->destination, ETH_ALEN);
	__builtin_memcpy(eth->h_source, endpoint->source, ETH_ALEN);
	return bpf_redirect(endpoint->ifindex, 0);
}

static __always_inline int has_endpoint(__u32 id)
{
	struct endpoint_value *endpoint = bpf_map_lookup_elem(&endpoints, &id);

	return endpoint && endpoint->action != ACTION_NONE;
}

static __always_inline int forward(struct __sk_buff *skb, __u32 id, __u32 verdict)
{
	struct endpoint_value *endpoint = bpf_map_lookup_elem(&endpoints, &id);

	if (!endpoint || endpoint->action == ACTION_NONE || !endpoint->has_mac)
		return drop(VERDICT_DROP_NO_TARGET);
	count_verdict(verdict);
	count_endpoint(skb, id);
	return forward_l2(skb, endpoint);
}
