/*
 * From a frame to its flow, for every program that looks at frames: Ethernet, VLAN tags in the frame, IPv4, IPv6 with
 * extension headers, fragments, TCP, and the flow inside an ICMP error. One parser, because what steering finds and the
 * guard does not is a frame that the lease does not stop.
 *
 * `direction` is a constant at every call, so that each program keeps only its own half.
 */
#pragma once
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include "flow-key.h"
#include "tcp.h"

/* What is pulled when headers are not in the linear part: Ethernet, VLAN tags, IPv6 with extensions, ICMP, quoted headers. */
#define HEADER_BYTES 192
#define VLAN_TAGS 2 /* 802.1ad puts a provider's tag before the customer's */
#define EXTENSION_HEADERS 4
#define MAPPED_PREFIX bpf_htonl(0xffff)

/* Who sent the frame, and so which of its ends is the client. */
enum direction {
	FROM_CLIENT,
	FROM_VIP,
};

enum packet_kind {
	KIND_OTHER,
	KIND_TCP,
	KIND_FRAGMENT, /* a later one: addresses are known, ports are not */
	KIND_ICMP_ERROR,
};

struct packet {
	struct flow_key flow;
	__u32 fragment_id; /* with fragment_protocol: which datagram between these addresses a fragment is of */
	__u32 fragment_protocol;
	__u32 seq;
	__u32 ack;
	__u32 l3; /* where the IP header begins in the frame */
	__u32 l4; /* where the TCP header begins */
	__u8 kind;
	__u8 tcp_flags;
	__u8 tcp_bytes; /* TCP header with options */
	__u8 is_first_fragment;
	__u8 is_short; /* a header reaches beyond the linear part */
};

struct vlan_header {
	__be16 tag;
	__be16 protocol;
};

struct ipv6_fragment {
	__u8 next_header;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

static __always_inline void map_ipv4(__u32 *out, __be32 address)
{
	out[0] = 0;
	out[1] = 0;
	out[2] = MAPPED_PREFIX;
	out[3] = address;
}

static __always_inline void copy_ipv6(__u32 *out, const struct in6_addr *address)
{
	out[0] = address->in6_u.u6_addr32[0];
	out[1] = address->in6_u.u6_addr32[1];
	out[2] = address->in6_u.u6_addr32[2];
	out[3] = address->in6_u.u6_addr32[3];
}

static __always_inline __u32 *source_of(struct packet *p, enum direction direction)
{
	return direction == FROM_CLIENT ? p->flow.client : p->flow.vip;
}

static __always_inline __u32 *destination_of(struct packet *p, enum direction direction)
{
	return direction == FROM_CLIENT ? p->flow.vip : p->flow.client;
}

static __always_inline void set_fragment(struct packet *p, __u32 id, __u32 protocol)
{
	p->fragment_id = id;
	p->fragment_protocol = protocol;
}

static __always_inline int is_beyond(void *at, void *end, struct packet *p)
{
	if (at <= end)
		return 0;
	p->is_short = 1;
	return 1;
}

static __always_inline void parse_tcp(void *at, void *end, struct packet *p, enum direction direction)
{
	struct tcphdr *tcp = at;
	__be16 source, destination;

	/* Up to the flags only: a first fragment may end there. */
	if (is_beyond(at + 14, end, p))
		return;
	source = tcp->source;
	destination = tcp->dest;
	p->flow.client_port = direction == FROM_CLIENT ? source : destination;
	p->flow.vip_port = direction == FROM_CLIENT ? destination : source;
	p->seq = bpf_ntohl(tcp->seq);
	p->ack = bpf_ntohl(tcp->ack_seq);
	p->tcp_bytes = tcp->doff * 4;
	p->tcp_flags = ((__u8 *)at)[13];
	p->kind = KIND_TCP;
}

/* linux/icmp.h wants a 32-bit libc here; RFC 792 and RFC 4443: type, code, checksum, 4 bytes by type. */
struct icmp_header {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 rest;
};

#define ICMP_UNREACHABLE 3
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12
/* RFC 4443 §2.1: unreachable, too big, time exceeded, parameter problem. */
#define ICMPV6_FIRST_ERROR 1
#define ICMPV6_LAST_ERROR 4

/* The packet an ICMP error quotes was ours: from the VIP to the client. */
static __always_inline void parse_quoted_ports(void *at, void *end, struct packet *p)
{
	__be16 *ports = at;

	if (is_beyond(at + 4, end, p))
		return;
	p->flow.vip_port = ports[0];
	p->flow.client_port = ports[1];
	p->kind = KIND_ICMP_ERROR;
}

static __always_inline void parse_icmp(void *at, void *end, struct packet *p)
{
	struct icmp_header *icmp = at;
	struct iphdr *quoted = at + sizeof(*icmp);

	if (is_beyond(quoted + 1, end, p))
		return;
	if (icmp->type != ICMP_UNREACHABLE && icmp->type != ICMP_TIME_EXCEEDED && icmp->type != ICMP_PARAMETER_PROBLEM)
		return;
	if (quoted->version != 4 || quoted->ihl < 5 || quoted->protocol != IPPROTO_TCP ||
	    (quoted->frag_off & bpf_htons(0x1fff)))
		return;
	map_ipv4(p->flow.client, quoted->daddr);
	map_ipv4(p->flow.vip, quoted->saddr);
	parse_quoted_ports((void *)quoted + quoted->ihl * 4, end, p);
}

static __always_inline void parse_icmpv6(void *at, void *end, struct packet *p)
{
	struct icmp_header *icmp = at;
	struct ipv6hdr *quoted = at + sizeof(*icmp);

	if (is_beyond(quoted + 1, end, p))
		return;
	if (icmp->type < ICMPV6_FIRST_ERROR || icmp->type > ICMPV6_LAST_ERROR)
		return;
	if (quoted->version != 6 || quoted->nexthdr != IPPROTO_TCP)
		return;
	copy_ipv6(p->flow.client, &quoted->daddr);
	copy_ipv6(p->flow.vip, &quoted->saddr);
	parse_quoted_ports(quoted + 1, end, p);
}

static __always_inline void parse_ipv4(void *at, void *end, struct packet *p, enum direction direction)
{
	struct iphdr *ip = at;
	__u16 fragment;
	void *next;

	if (is_beyond(ip + 1, end, p) || ip->version != 4 || ip->ihl < 5)
		return;
	map_ipv4(source_of(p, direction), ip->saddr);
	map_ipv4(destination_of(p, direction), ip->daddr);
	fragment = bpf_ntohs(ip->frag_off);
	next = at + ip->ihl * 4;
	p->l4 = p->l3 + ip->ihl * 4;
	if (direction == FROM_CLIENT && ip->protocol == IPPROTO_ICMP && !(fragment & 0x3fff)) {
		parse_icmp(next, end, p);
		return;
	}
	if (ip->protocol != IPPROTO_TCP)
		return;
	if (fragment & 0x3fff)
		set_fragment(p, ip->id, IPPROTO_TCP);
	if (fragment & 0x1fff) {
		p->kind = KIND_FRAGMENT;
		return;
	}
	p->is_first_fragment = (fragment & 0x2000) != 0;
	parse_tcp(next, end, p, direction);
}

static __always_inline void parse_ipv6(void *at, void *end, struct packet *p, enum direction direction)
{
	struct ipv6hdr *ip = at;
	void *next = at + sizeof(*ip);
	__u8 protocol;

	if (is_beyond(ip + 1, end, p) || ip->version != 6)
		return;
	copy_ipv6(source_of(p, direction), &ip->saddr);
	copy_ipv6(destination_of(p, direction), &ip->daddr);
	protocol = ip->nexthdr;
#pragma unroll
	for (int i = 0; i < EXTENSION_HEADERS; i++) {
		if (protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_DSTOPTS) {
			__u8 *extension = next;

			if (is_beyond(extension + 2, end, p))
				return;
			protocol = extension[0];
			next += ((__u32)extension[1] + 1) * 8;
		} else if (protocol == IPPROTO_FRAGMENT) {
			struct ipv6_fragment *fragment = next;

			if (is_beyond(fragment + 1, end, p))
				return;
			protocol = fragment->next_header;
			set_fragment(p, fragment->id, IPPROTO_FRAGMENT);
			if (bpf_ntohs(fragment->offset) & 0xfff8) {
				if (protocol == IPPROTO_TCP)
					p->kind = KIND_FRAGMENT;
				return;
			}
			p->is_first_fragment = bpf_ntohs(fragment->offset) & 1;
			next += sizeof(*fragment);
		}
	}
	p->l4 = p->l3 + (next - at);
	if (protocol == IPPROTO_TCP)
		parse_tcp(next, end, p, direction);
	else if (direction == FROM_CLIENT && protocol == IPPROTO_ICMPV6 && !p->is_first_fragment)
		parse_icmpv6(next, end, p);
}

/*
 * Fills `p` from the linear part; kind stays KIND_OTHER for whatever is not TCP or an ICMP error about TCP that the VIP
 * sent. True: it was short.
 */
static __always_inline int parse_linear(struct __sk_buff *skb, struct packet *p, enum direction direction)
{
	void *at = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = at;
	__be16 protocol;

	if (is_beyond(eth + 1, end, p))
		return 1;
	protocol = eth->h_proto;
	at = eth + 1;
	p->l3 = sizeof(*eth);
#pragma unroll
	for (int i = 0; i < VLAN_TAGS; i++) {
		struct vlan_header *vlan = at;

		if (protocol != bpf_htons(ETH_P_8021Q) && protocol != bpf_htons(ETH_P_8021AD))
			break;
		if (is_beyond(vlan + 1, end, p))
			return 1;
		protocol = vlan->protocol;
		at = vlan + 1;
		p->l3 += sizeof(*vlan);
	}
	if (protocol == bpf_htons(ETH_P_IP))
		parse_ipv4(at, end, p, direction);
	else if (protocol == bpf_htons(ETH_P_IPV6))
		parse_ipv6(at, end, p, direction);
	return p->is_short;
}

/* Once per object and direction: inlined where it is called twice, it would double what the verifier has to follow. */
static __noinline int parse_linear_from_client(struct __sk_buff *skb, struct packet *p)
{
	return parse_linear(skb, p, FROM_CLIENT);
}

static __noinline int parse_linear_from_vip(struct __sk_buff *skb, struct packet *p)
{
	return parse_linear(skb, p, FROM_VIP);
}

/*
 * Headers are nearly always in the linear part. Pulling more than they need would copy payload, and for a packet that a
 * local socket sent (a clone) a whole new head: 0.2 us on every small packet.
 */
static __always_inline void parse_packet(struct __sk_buff *skb, struct packet *p, enum direction direction)
{
	int is_short = direction == FROM_CLIENT ? parse_linear_from_client(skb, p) : parse_linear_from_vip(skb, p);

	if (!is_short || skb->data_end - skb->data >= skb->len)
		return;
	if (bpf_skb_pull_data(skb, skb->len < HEADER_BYTES ? skb->len : HEADER_BYTES))
		return;
	p->is_short = 0;
	p->is_first_fragment = 0;
	if (direction == FROM_CLIENT)
		parse_linear_from_client(skb, p);
	else
		parse_linear_from_vip(skb, p);
}
