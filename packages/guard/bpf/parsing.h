/* From an outgoing frame to its flow and the places of its headers. Outgoing TCP is never fragmented by our kernel. */
#pragma once
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include "bounds.h"
#include "maps.h"

#define MAPPED_PREFIX bpf_htonl(0xffff)
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define OPTION_STEPS 24

struct segment {
	struct flow_key flow;
	__u32 seq;
	__u32 ack;
	__u32 payload;
	__u32 header_bytes; /* Ethernet to the end of TCP's options */
	__u32 l3;
	__u32 l4;
	__u16 window; /* host order */
	__u8 flags;
	__u8 is_ipv6;
};

/* a is behind b on the circle of sequence numbers (RFC 9293 §3.4). */
static __always_inline int is_after(__u32 a, __u32 b)
{
	return (__s32)(a - b) > 0;
}

static __always_inline int parse_network(void *at, void *end, __be16 protocol, struct segment *s)
{
	if (protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = at;

		if ((void *)(ip + 1) > end || ip->ihl < 5 || ip->protocol != IPPROTO_TCP)
			return 0;
		s->flow.vip[2] = MAPPED_PREFIX;
		s->flow.vip[3] = ip->saddr;
		s->flow.client[2] = MAPPED_PREFIX;
		s->flow.client[3] = ip->daddr;
		s->l4 = s->l3 + ip->ihl * 4;
		return 1;
	}
	if (protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = at;

		if ((void *)(ip + 1) > end || ip->nexthdr != IPPROTO_TCP)
			return 0;
		__builtin_memcpy(s->flow.vip, &ip->saddr, 16);
		__builtin_memcpy(s->flow.client, &ip->daddr, 16);
		s->is_ipv6 = 1;
		s->l4 = s->l3 + sizeof(*ip);
		return 1;
	}
	return 0;
}

/* 1 if the frame is TCP with whole headers. Copies the headers into `header` (128 bytes, zero-filled by the caller). */
static __always_inline int parse_segment(struct __sk_buff *skb, struct segment *s, __u8 *header)
{
	struct ethhdr *eth = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct tcphdr *tcp;
	__u64 header_bytes;
	__be16 protocol;

	if ((void *)(eth + 1) > end)
		return 0;
	protocol = eth->h_proto;
	s->l3 = sizeof(*eth);
	if (protocol == bpf_htons(ETH_P_8021Q)) {
		__be16 *inner = (void *)(eth + 1) + 2;

		if ((void *)(inner + 1) > end)
			return 0;
		protocol = *inner;
		s->l3 += 4;
	}
	if (!parse_network((void *)eth + s->l3, end, protocol, s))
		return 0;
	if (s->l4 > 78)
		return 0;
	tcp = (void *)eth + s->l4;
	if ((void *)(tcp + 1) > end || tcp->doff < 5)
		return 0;
	s->flow.vip_port = tcp->source;
	s->flow.client_port = tcp->dest;
	s->seq = bpf_ntohl(tcp->seq);
	s->ack = bpf_ntohl(tcp->ack_seq);
	s->window = bpf_ntohs(tcp->window);
	s->flags = ((__u8 *)tcp)[13];
	header_bytes = s->l4 + tcp->doff * 4;
	if (header_bytes > skb->len || header_bytes < 54 || !IS_WITHIN(header_bytes, HEADER_WORDS * 8))
		return 0;
	s->header_bytes = header_bytes;
	s->payload = skb->len - header_bytes;
	return bpf_skb_load_bytes(skb, 0, header, header_bytes) == 0;
}

/* Offset of option `kind` in the header, its length in *length; 0 if it is not there. */
static __always_inline __u32 find_option(const __u8 *header, __u32 l4, __u32 end, __u8 kind, __u8 *length)
{
	__u64 at = l4 + 20;

	for (int i = 0; i < OPTION_STEPS; i++) {
		__u8 size;

		if (at + 1 >= end || !IS_WITHIN(at, HEADER_WORDS * 8 - 2))
			return 0;
		if (header[at] == 0)
			return 0;
		if (header[at] == 1) {
			at += 1;
			continue;
		}
		size = header[at + 1];
		if (size < 2 || at + size > end)
			return 0;
		if (header[at] == kind) {
			*length = size;
			return at;
		}
		at += size;
	}
	return 0;
}
