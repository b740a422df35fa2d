/*
 * The only writer of decisions into guard_flows, run by user space with BPF_PROG_TEST_RUN. A commit and the
 * acknowledgement it sets free are one call: between two calls a pure acknowledgement could be withheld and forgotten.
 *
 * The frame of the test run becomes the acknowledgement and leaves by bpf_clone_redirect, through the egress program
 * like any other (so the lease holds for it too). An application with CAP_NET_ADMIN can do this without raw sockets.
 */
#include <linux/pkt_cls.h>
#include "parsing.h"

char _license[] SEC("license") = "GPL";

#define OPTION_SACK 5

struct emission {
	__u64 header[HEADER_WORDS]; /* first: the fields behind it are the room that HEADER_ROOM_WORDS speaks of */
	__u32 header_bytes;
	__u32 l3;
	__u32 l4;
	__u32 ack;
	__u32 seq;
	__u32 lowered_by;
	__u32 ifindex;
	__u32 window_scale;
};

static __always_inline __u16 folded(__s64 sum)
{
	sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + ((sum >> 32) & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline void put32(__u8 *at, __u32 value)
{
	at[0] = value >> 24;
	at[1] = value >> 16;
	at[2] = value >> 8;
	at[3] = value;
}

static __always_inline void put16(__u8 *at, __u16 value)
{
	at[0] = value >> 8;
	at[1] = value;
}

/* A checksum is in memory order already (little endian machines); the stack wants bytes where the offset is not known to be even. */
static __always_inline void put_sum(__u8 *at, __u16 sum)
{
	at[0] = sum;
	at[1] = sum >> 8;
}

/* Takes what is withheld if the entry now allows some of it; under the lock, so nobody withholds in between. */
static __always_inline int take(struct guard_flow *flow, struct emission *e, __u32 up_to, __u64 now)
{
	if (!flow->withheld_since_ns)
		return 0;
	__builtin_memcpy(e->header, flow->header, HEADER_WORDS * 8);
	e->header_bytes = flow->header_bytes;
	e->l3 = flow->l3_offset;
	e->l4 = flow->l4_offset;
	e->seq = flow->sent_end;
	e->ack = is_after(flow->withheld_ack, up_to) ? up_to : flow->withheld_ack;
	e->lowered_by = flow->withheld_ack - e->ack;
	e->ifindex = flow->ifindex;
	e->window_scale = flow->window_scale;
	/* What is still withheld is so since now: a stream that is always a little behind is not stuck. */
	flow->withheld_since_ns = e->lowered_by == 0 ? 0 : now;
	flow->emitted += 1;
	return 1;
}

/* All numbers of the pure acknowledgement, checksums last. 0 if the header is not one we can use. */
static __always_inline int fill_in(struct emission *e)
{
	__u8 *header = (__u8 *)e->header;
	__u64 l3 = e->l3, l4 = e->l4, end = e->header_bytes;
	__u32 window, tcp_bytes;
	__u8 length = 0;
	__u64 sack;
	__s64 sum;

	if (l3 < 14 || !IS_WITHIN(l3, 22) || l4 < l3 + 20 || !IS_WITHIN(l4, LAST_L4))
		return 0;
	if (end < l4 + 20 || end > l4 + 60 || end > HEADER_WORDS * 8)
		return 0;
	tcp_bytes = end - l4;
	put32(header + l4 + 4, e->seq);
	put32(header + l4 + 8, e->ack);
	header[l4 + 13] = TCP_ACK;
	window = (((__u32)header[l4 + 14] << 8) | header[l4 + 15]) + (e->lowered_by >> (e->window_scale & 15));
	put16(header + l4 + 14, window > 0xffff ? 0xffff : window);
	put32(header + l4 + 16, 0);
	sack = e->lowered_by ? find_option(header, l4, end, OPTION_SACK, &length) : 0;
	if (sack) {
		for (int i = 0; i < 34; i++) {
			__u64 at = sack + i;

			if (i >= length || !IS_WITHIN(at, HEADER_WORDS * 8 - 1))
				break;
			header[at] = 1;
		}
	}
	if ((header[l3] >> 4) == 4) {
		put16(header + l3 + 2, end - l3);
		put16(header + l3 + 10, 0);
		sum = bpf_csum_diff(0, 0, (__be32 *)(header + l3), 20, 0);
		put_sum(header + l3 + 10, folded(sum));
		sum = bpf_csum_diff(0, 0, (__be32 *)(header + l3 + 12), 8, 0);
	} else {
		put16(header + l3 + 4, end - l3 - 40);
		sum = bpf_csum_diff(0, 0, (__be32 *)(header + l3 + 8), 32, 0);
	}
	sum += bpf_htons(IPPROTO_TCP) + bpf_htons(tcp_bytes);
	sum = bpf_csum_diff(0, 0, (__be32 *)(header + l4), tcp_bytes & 0x3c, (__u32)((sum & 0xffffffff) + (sum >> 32)));
	put_sum(header + l4 + 16, folded(sum));
	return 1;
}

static __always_inline int emit(struct __sk_buff *skb, struct emission *e)
{
	__u64 bytes = e->header_bytes;

	if (!fill_in(e))
		return RESULT_INVALID;
	if (bytes < 54 || !IS_WITHIN(bytes, HEADER_WORDS * 8))
		return RESULT_INVALID;
	if (bpf_skb_change_tail(skb, bytes, 0) || bpf_skb_store_bytes(skb, 0, e->header, bytes, 0))
		return RESULT_INVALID;
	count(bpf_clone_redirect(skb, e->ifindex, 0) ? VERDICT_EMIT_FAILED : VERDICT_EMITTED);
	return RESULT_EMITTED;
}

/* Epochs begin anew with each connection, so that they do not tell it from an earlier one on the same ports. */
static __always_inline int is_another(struct guard_flow *flow, struct guard_command *command)
{
	return flow->birth && command->birth && flow->birth != command->birth;
}

static __always_inline int on_register(struct guard_command *command)
{
	struct guard_flow *flow = bpf_map_lookup_elem(&guard_flows, &command->flow);
	__u32 flags = command->flags | finishes(command->flags, command->lease);
	struct guard_flow fresh = {};
	int result = RESULT_OK;

	if (flow && is_another(flow, command)) {
		bpf_map_delete_elem(&guard_flows, &command->flow);
		flow = 0;
	}
	if (!flow) {
		/* The SYN-ACK knows better than the application what was acknowledged, if no packet promoted it yet. */
		struct half_open_flow *half = bpf_map_lookup_elem(&guard_half_open, &command->flow);

		fresh.flags = flags;
		fresh.epoch = command->epoch;
		fresh.lease = command->lease;
		fresh.committed = command->committed;
		fresh.sent_end = half ? half->sent_end : command->sent_end;
		fresh.window_scale = half ? half->window_scale : command->window_scale;
		fresh.fin_seq = command->fin_seq;
		fresh.birth = command->birth;
		if (bpf_map_update_elem(&guard_flows, &command->flow, &fresh, BPF_NOEXIST) < 0)
			return RESULT_FULL;
		bpf_map_delete_elem(&guard_half_open, &command->flow);
		return RESULT_OK;
	}
	bpf_spin_lock(&flow->lock);
	if (command->epoch < flow->epoch) {
		result = RESULT_STALE;
	} else if (command->epoch == flow->epoch && (flow->flags & command->flags & FLAG_ENDED) &&
		   flow->fin_seq != command->fin_seq) {
		result = RESULT_INVALID;
	} else {
		__u32 kept = 0;

		/* The same owner says it again: what was promised stands. A new one knows what it is to promise. */
		if (command->epoch == flow->epoch)
			kept = flow->flags & (FLAG_ENDED | FLAG_MAY_RESET | FLAG_FINISHES);
		if (!(kept & FLAG_ENDED))
			flow->fin_seq = command->fin_seq;
		flow->flags = flags | kept;
		flow->lease = command->lease;
		flow->window_scale = command->window_scale;
		if (command->birth)
			flow->birth = command->birth;
		/* Never back: what was acknowledged cannot be taken back. */
		if (is_after(command->committed, flow->committed))
			flow->committed = command->committed;
		if (flow->epoch && command->epoch > flow->epoch) {
			/* The session was here before and comes back: what its former socket sent and kept back is of the past. */
			flow->sent_end = command->sent_end;
			flow->withheld_since_ns = 0;
		}
		flow->epoch = command->epoch;
	}
	bpf_spin_unlock(&flow->lock);
	return result;
}

static __always_inline int on_advance(struct __sk_buff *skb, struct guard_command *command)
{
	struct guard_flow *flow = bpf_map_lookup_elem(&guard_flows, &command->flow);
	struct emission e = {};
	__u64 now = bpf_ktime_get_ns();
	int is_stale, has_taken = 0;

	if (!flow)
		return RESULT_ABSENT;
	bpf_spin_lock(&flow->lock);
	/* A connection that no application has accepted may be reset at any time: nothing of it is acknowledged. */
	is_stale = command->epoch != flow->epoch || !flow->epoch;
	if (!is_stale && is_after(command->committed, flow->committed)) {
		flow->committed = command->committed;
		has_taken = take(flow, &e, command->committed, now);
	}
	bpf_spin_unlock(&flow->lock);
	if (is_stale)
		return RESULT_STALE;
	return has_taken ? emit(skb, &e) : RESULT_OK;
}

/* What may leave at the end of the connection. An end that was promised is never put elsewhere. */
static __always_inline int on_ending(struct guard_command *command)
{
	struct guard_flow *flow = bpf_map_lookup_elem(&guard_flows, &command->flow);
	int result = RESULT_OK;
	__u32 finisher;

	if (!flow)
		return RESULT_ABSENT;
	finisher = finishes(flow->flags | FLAG_ENDED, flow->lease);
	bpf_spin_lock(&flow->lock);
	if (command->epoch != flow->epoch) {
		result = RESULT_STALE;
	} else if (command->op == OP_RESET) {
		flow->flags |= FLAG_MAY_RESET;
	} else if (command->op == OP_MOVED) {
		flow->flags = FLAG_GUARD;
	} else if (flow->flags & FLAG_ENDED) {
		if (flow->fin_seq != command->fin_seq)
			result = RESULT_INVALID;
	} else {
		flow->fin_seq = command->fin_seq;
		flow->flags |= FLAG_ENDED | finisher;
	}
	bpf_spin_unlock(&flow->lock);
	return result;
}

static __always_inline int on_remove(struct guard_command *command)
{
	struct guard_flow *flow = bpf_map_lookup_elem(&guard_flows, &command->flow);

	if (!flow)
		return RESULT_ABSENT;
	if (flow->epoch != command->epoch || is_another(flow, command))
		return RESULT_STALE;
	bpf_map_delete_elem(&guard_flows, &command->flow);
	return RESULT_OK;
}

SEC("tc")
int guard_control(struct __sk_buff *skb)
{
	struct guard_command command = {};

	if (bpf_skb_load_bytes(skb, COMMAND_AT, &command, sizeof(command)))
		return RESULT_INVALID;
	if (command.lease >= MAX_LEASES)
		return RESULT_INVALID;
	switch (command.op) {
	case OP_REGISTER:
		return on_register(&command);
	case OP_COMMIT:
		return on_advance(skb, &command);
	case OP_END:
	case OP_RESET:
	case OP_MOVED:
		return on_ending(&command);
	case OP_REMOVE:
		return on_remove(&command);
	}
	return RESULT_INVALID;
}
