/* From an outgoing frame to its flow, the places of its headers, and a copy of them. */
#pragma once
#include "../common/bounds.h"
#include "../common/parsing.h"
#include "maps.h"

#define OPTION_STEPS 24

/* Where a TCP header begins at most: Ethernet, two VLAN tags, IPv4 with all its options. */
#define LAST_L4 82

/* As narrow as may be: Linux 6.1 gives the egress program and the parser that it calls 512 bytes of stack, and they take them all. */
struct segment {
	struct flow_key flow;
	__u32 seq;
	__u32 ack;
	__u32 payload;
	__u16 window; /* host order */
	__u8 header_bytes; /* Ethernet to the end of TCP's options */
	__u8 l3;
	__u8 l4;
	__u8 flags;
};

/* 1 if the frame is TCP with whole headers. Copies the headers into `header` (128 bytes and room, zero-filled by the caller). */
static __always_inline int parse_segment(struct __sk_buff *skb, struct segment *s, __u8 *header)
{
	struct packet p = {};
	__u64 header_bytes, l4;

	parse_packet(skb, &p, FROM_VIP);
	if (p.kind != KIND_TCP || p.tcp_bytes < 20)
		return 0;
	l4 = p.l4;
	if (!IS_WITHIN(l4, LAST_L4))
		return 0;
	header_bytes = l4 + p.tcp_bytes;
	if (header_bytes > skb->len || header_bytes < 54 || !IS_WITHIN(header_bytes, HEADER_WORDS * 8))
		return 0;
	if (bpf_skb_load_bytes(skb, 0, header, header_bytes))
		return 0;
	s->flow = p.flow;
	s->seq = p.seq;
	s->ack = p.ack;
	s->flags = p.tcp_flags;
	s->l3 = p.l3;
	s->l4 = l4;
	s->window = (__u16)header[l4 + 14] << 8 | header[l4 + 15];
	s->header_bytes = header_bytes;
	s->payload = skb->len - header_bytes;
	return 1;
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
