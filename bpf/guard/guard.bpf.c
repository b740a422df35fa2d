/*
 * The guard of an endpoint host, at tc egress: what leaves for guarded flows, and by which acknowledgement.
 *
 * It stands outside every guarded process, so that it goes on when they end. Order matters: first what nobody could go on
 * with (its client is told at once), then the lease (a fenced host sends nothing at all), then FIN and RST, then the gate.
 */
#include <linux/pkt_cls.h>
#include "parsing.h"

char _license[] SEC("license") = "GPL";

#define OPTION_NOP 1
#define OPTION_WINDOW_SCALE 3
#define OPTION_SACK 5

static __always_inline struct listener_value *find_listener(struct segment *s)
{
	struct listener_key key = {};

	__builtin_memcpy(key.vip, s->flow.vip, 16);
	key.port = s->flow.vip_port;
	return bpf_map_lookup_elem(&guard_listeners, &key);
}

/* The client's first byte is one behind the acknowledgement in our SYN-ACK: nothing is committed yet. */
static __always_inline int on_syn_ack(struct segment *s, struct listener_value *listener, const __u8 *header)
{
	struct half_open_flow half = { .committed = s->ack, .sent_end = s->seq + 1 };
	__u8 length = 0;
	__u64 at = find_option(header, s->l4, s->header_bytes, OPTION_WINDOW_SCALE, &length);

	if (at && IS_WITHIN(at, HEADER_WORDS * 8 - 3))
		half.window_scale = header[at + 2] & 15;
	/* A new connection on the same ports: what was known of the old one is over. */
	bpf_map_delete_elem(&guard_flows, &s->flow);
	bpf_map_update_elem(&guard_half_open, &s->flow, &half, BPF_ANY);
	count(VERDICT_PASS);
	return TC_ACT_OK;
}

/* Makes the entry from what the SYN-ACK said. Without it nothing may be acknowledged: we do not know what is committed. */
static __always_inline struct guard_flow *promote(struct segment *s, struct listener_value *listener)
{
	struct half_open_flow *half = bpf_map_lookup_elem(&guard_half_open, &s->flow);
	struct guard_flow fresh = {};

	if (!half)
		return 0;
	fresh.flags = listener->flags;
	fresh.lease = listener->lease;
	fresh.committed = half->committed;
	fresh.sent_end = half->sent_end;
	fresh.window_scale = half->window_scale;
	if (bpf_map_update_elem(&guard_flows, &s->flow, &fresh, BPF_NOEXIST) < 0)
		count(VERDICT_TABLE_FULL);
	bpf_map_delete_elem(&guard_half_open, &s->flow);
	return bpf_map_lookup_elem(&guard_flows, &s->flow);
}

static __always_inline int drop(struct guard_flow *flow, __u32 verdict)
{
	__sync_fetch_and_add(&flow->dropped, 1);
	count(verdict);
	return TC_ACT_SHOT;
}

/* FIN becomes RST in place: the client must not take a crash for the end of the stream. */
static __always_inline int reset_instead(struct __sk_buff *skb, struct segment *s, struct guard_flow *flow, const __u8 *header)
{
	__u8 flags = (s->flags & ~TCP_FIN) | TCP_RST;
	__u16 before, after;
	__u64 l4 = s->l4;

	if (!IS_WITHIN(l4, LAST_L4))
		return TC_ACT_SHOT;
	before = (__u16)header[l4 + 12] | ((__u16)s->flags << 8);
	after = (__u16)header[l4 + 12] | ((__u16)flags << 8);
	bpf_l4_csum_replace(skb, s->l4 + 16, before, after, 2);
	bpf_skb_store_bytes(skb, s->l4 + 13, &flags, 1, 0);
	count(VERDICT_RESET);
	return TC_ACT_OK;
}

/* The right edge of the window stays where the kernel promised it, though the left one is lowered. */
static __always_inline __u16 raised_window(__u16 window, __u32 lowered_by, __u8 scale)
{
	__u32 raised = window + (lowered_by >> (scale & 15));

	return raised > 0xffff ? 0xffff : raised;
}

/* RFC 2018 §3: 2 + 8 n bytes become no-operations. Segments of our own kernel leave their checksum to the device;
 * bpf_l4_csum_replace knows that and corrects only finished ones. `header` is changed too. */
static __always_inline void strip_sack(struct __sk_buff *skb, struct segment *s, __u8 *header)
{
	__u32 bytes = s->header_bytes - s->l4;
	__u64 nops[5], l4 = s->l4, size;
	__u8 length = 0;
	__u64 at = find_option(header, l4, s->header_bytes, OPTION_SACK, &length);
	__s64 sum;

	__builtin_memset(nops, OPTION_NOP, sizeof(nops));

	if (!at || length < 10 || length > 34 || !IS_WITHIN(l4, LAST_L4))
		return;
	sum = bpf_csum_diff(0, 0, (__be32 *)(header + l4), bytes & 0x3c, 0);
	for (int i = 0; i < 34; i++) {
		__u64 place = at + i;

		if (i >= length || !IS_WITHIN(place, HEADER_WORDS * 8 - 1))
			break;
		header[place] = OPTION_NOP;
	}
	sum = bpf_csum_diff(0, 0, (__be32 *)(header + l4), bytes & 0x3c, ~(__u32)sum);
	/* The length again, as a number of its own: the verifier wants it neither 0 nor above what `nops` has. */
	size = length;
	if (size == 0 || !IS_WITHIN(size, sizeof(nops)))
		return;
	bpf_skb_store_bytes(skb, at, nops, size, 0);
	bpf_l4_csum_replace(skb, l4 + 16, 0, (__u32)sum, 0);
}

static __always_inline void lower_ack(struct __sk_buff *skb, struct segment *s, __u32 committed, __u8 scale, __u8 *header)
{
	__be32 before = bpf_htonl(s->ack), after = bpf_htonl(committed);
	__be16 window_before = bpf_htons(s->window);
	__be16 window_after = bpf_htons(raised_window(s->window, s->ack - committed, scale));

	/* Blocks above the kernel's own acknowledgement would make the client resend what lies between: they come with
	 * the acknowledgement itself, once it is committed. */
	strip_sack(skb, s, header);
	bpf_l4_csum_replace(skb, s->l4 + 16, before, after, 4);
	bpf_skb_store_bytes(skb, s->l4 + 8, &after, 4, 0);
	bpf_l4_csum_replace(skb, s->l4 + 16, window_before, window_after, 2);
	bpf_skb_store_bytes(skb, s->l4 + 14, &window_after, 2, 0);
}

/* Remembers this header as the newest one; returns 1 if its acknowledgement is above what is committed. */
static __always_inline int is_gated(struct __sk_buff *skb, struct segment *s, struct guard_flow *flow, const __u64 *header,
				    __u32 *committed, int *is_probe)
{
	__u32 end = s->seq + s->payload + ((s->flags & TCP_FIN) ? 1 : 0);
	__u64 now = bpf_ktime_get_ns();
	__u32 ifindex = skb->ifindex;
	int gated;

	bpf_spin_lock(&flow->lock);
	*committed = flow->committed;
	gated = (flow->flags & FLAG_GATE) && is_after(s->ack, flow->committed);
	*is_probe = is_after(flow->sent_end, end);
	if (is_after(end, flow->sent_end))
		flow->sent_end = end;
	if (gated) {
		__builtin_memcpy(flow->header, header, HEADER_WORDS * 8);
		flow->header_bytes = s->header_bytes;
		flow->l3_offset = s->l3;
		flow->l4_offset = s->l4;
		flow->withheld_ack = s->ack;
		flow->ifindex = ifindex;
		if (!flow->withheld_since_ns)
			flow->withheld_since_ns = now;
	} else if (flow->withheld_since_ns && !is_after(flow->withheld_ack, s->ack)) {
		flow->withheld_since_ns = 0;
	}
	bpf_spin_unlock(&flow->lock);
	return gated;
}

static __always_inline int gate(struct __sk_buff *skb, struct segment *s, struct guard_flow *flow, __u64 *header)
{
	__u32 committed;
	int is_probe;

	if (!is_gated(skb, s, flow, header, &committed, &is_probe)) {
		count(VERDICT_PASS);
		return TC_ACT_OK;
	}
	/* Our own keepalive or window probe repeats an old sequence number: it must leave, the client only answers it. */
	if (s->payload == 0 && !(s->flags & (TCP_FIN | TCP_RST)) && !is_probe) {
		__sync_fetch_and_add(&flow->withheld, 1);
		count(VERDICT_WITHHELD);
		return TC_ACT_SHOT;
	}
	__sync_fetch_and_add(&flow->rewritten, 1);
	lower_ack(skb, s, committed, flow->window_scale, (__u8 *)header);
	count(VERDICT_REWRITTEN);
	return TC_ACT_OK;
}

/* Under the lock: half of a promise would make a FIN that was meant a stray one, or the other way round. */
static __always_inline int stands_at_end(struct segment *s, struct guard_flow *flow)
{
	int is_end;

	bpf_spin_lock(&flow->lock);
	is_end = (flow->flags & FLAG_ENDED) && s->seq + s->payload == flow->fin_seq;
	bpf_spin_unlock(&flow->lock);
	return is_end;
}

/* The kernel's answer to a SYN that nobody listens for (RFC 9293 3.10.7.1). */
static __always_inline int is_refusal(struct segment *s)
{
	return (s->flags & (TCP_RST | TCP_ACK | TCP_SYN)) == (TCP_RST | TCP_ACK) && s->seq == 0 && s->payload == 0;
}

static __always_inline __u32 make_finisher(struct guard_flow *flow)
{
	__u32 flags;

	bpf_spin_lock(&flow->lock);
	if ((flow->flags & FLAG_ENDED) && !(flow->flags & FLAG_GATE))
		flow->flags |= FLAG_FINISHES;
	flags = flow->flags;
	bpf_spin_unlock(&flow->lock);
	return flags;
}

SEC("tc")
int guard_egress(struct __sk_buff *skb)
{
	__u64 header[HEADER_WORDS + HEADER_ROOM_WORDS] = {};
	struct listener_value *listener;
	struct guard_flow *flow;
	struct segment s = {};
	__u32 flags;
	int is_end, is_kernels;

	if (!parse_segment(skb, &s, (__u8 *)header))
		return TC_ACT_OK;
	if (s.flags & TCP_SYN) {
		listener = find_listener(&s);
		if (!listener)
			return TC_ACT_OK;
		if (!is_leased(listener->lease)) {
			count(VERDICT_DROP_LEASE);
			return TC_ACT_SHOT;
		}
		return on_syn_ack(&s, listener, (__u8 *)header);
	}
	/* The listener's process has died, or is about to listen: the client's next SYN finds another one, a refusal would be final. */
	if (is_refusal(&s) && find_listener(&s)) {
		count(VERDICT_DROP_RST);
		return TC_ACT_SHOT;
	}
	flow = bpf_map_lookup_elem(&guard_flows, &s.flow);
	if (!flow) {
		listener = find_listener(&s);
		if (!listener)
			return TC_ACT_OK;
		flow = promote(&s, listener);
		if (!flow) {
			if (!is_leased(listener->lease)) {
				count(VERDICT_DROP_LEASE);
				return TC_ACT_SHOT;
			}
			if (!(listener->flags & FLAG_GATE) || (s.flags & TCP_RST))
				return TC_ACT_OK;
			count(VERDICT_DROP_UNKNOWN);
			return TC_ACT_SHOT;
		}
	}
	flags = flow->flags;
	is_end = (s.flags & TCP_FIN) && stands_at_end(&s, flow);
	/* An end that came while the lease did not run is made good by the first packet under it. */
	if (!(flags & FLAG_FINISHES) && finishes(flags, flow->lease))
		flags = make_finisher(flow);
	is_kernels = flags & FLAG_FINISHES;
	/*
	 * Nobody goes on with that, nor with a session at level none, nor with a connection that no application has accepted
	 * (epoch 0): the client is told at once, whether the lease has ended or not. A FIN elsewhere than at the promised end
	 * means that the process died with the last bytes.
	 */
	if ((flags & FLAG_RESET_ON_FIN) || flow->epoch == 0 || is_kernels) {
		if ((s.flags & TCP_FIN) && !is_end)
			return reset_instead(skb, &s, flow, (__u8 *)header);
		if ((s.flags & TCP_RST) || is_kernels) {
			count(VERDICT_PASS);
			return TC_ACT_OK;
		}
	}
	if (!is_leased(flow->lease))
		return drop(flow, VERDICT_DROP_LEASE);
	if ((s.flags & TCP_RST) && (flags & FLAG_GUARD) && !(flags & FLAG_MAY_RESET))
		return drop(flow, VERDICT_DROP_RST);
	if ((s.flags & TCP_FIN) && (flags & FLAG_GUARD) && !is_end)
		return drop(flow, VERDICT_DROP_FIN);
	return gate(skb, &s, flow, header);
}
