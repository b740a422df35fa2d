/*
 * Keeping packets of a moving flow. A held frame goes into the hold device (a TAP); its MACs are overwritten with the
 * flow's hold tag, so that user space sorts frames without parsing them (they get new MACs anyway when they leave).
 * Every frame that went in is written back by user space and decided here; `outstanding` counts those under way.
 */
#pragma once
#include "forward.h"
#include "record.h"

/* Locally administered unicast, then the tag. */
static __always_inline int redirect_to_hold(struct __sk_buff *skb, __u32 tag, __u32 hold_ifindex)
{
	struct ethhdr *eth = (void *)(long)skb->data;

	if ((void *)(eth + 1) > (void *)(long)skb->data_end)
		return TC_ACT_SHOT;
	eth->h_dest[0] = 0x02;
	eth->h_dest[1] = 0;
	eth->h_dest[2] = tag >> 24;
	eth->h_dest[3] = tag >> 16;
	eth->h_dest[4] = tag >> 8;
	eth->h_dest[5] = tag;
	return bpf_redirect(hold_ifindex, 0);
}

static __always_inline void leave_hold(struct __sk_buff *skb, struct flow_value *record)
{
	struct gauges *gauges = get_gauges();

	if (record)
		__sync_fetch_and_add(&record->held_bytes, -skb->len);
	if (gauges) {
		__sync_fetch_and_add(&gauges->held_bytes, -(__u64)skb->len);
		__sync_fetch_and_add(&gauges->held_frames, -1);
	}
}

static __always_inline int has_hold_room(struct __sk_buff *skb, struct flow_value *record, struct settings *settings)
{
	struct gauges *gauges = get_gauges();

	/* Signed: a frame that comes back after its account was closed makes a sum negative, which is room. */
	return gauges && settings->hold_ifindex &&
	       (__s64)(__s32)record->held_bytes + skb->len <= settings->hold_flow_bytes &&
	       (__s64)gauges->held_bytes + (__s64)skb->len <= (__s64)settings->hold_total_bytes &&
	       (__s64)gauges->held_frames < (__s64)settings->hold_frames;
}

static __always_inline int enter_hold(struct __sk_buff *skb, struct flow_value *record, struct settings *settings)
{
	struct gauges *gauges = get_gauges();

	__sync_fetch_and_add(&record->held_bytes, skb->len);
	if (gauges) {
		__sync_fetch_and_add(&gauges->held_bytes, (__u64)skb->len);
		__sync_fetch_and_add(&gauges->held_frames, 1);
	}
	count_verdict(VERDICT_HELD);
	return redirect_to_hold(skb, record->hold_tag, settings->hold_ifindex);
}

enum hold_decision {
	DECIDE_OWNER,
	DECIDE_KEEP,
	DECIDE_DROP,
};

static __always_inline int decide(__u32 state, __u32 outstanding, __u64 deadline_ns, int is_reentry)
{
	__u64 now_ns;

	if (state == STATE_ACTIVE || state == STATE_CLOSING)
		return DECIDE_OWNER;
	if (state == STATE_RELEASING && is_reentry)
		return DECIDE_OWNER;
	now_ns = bpf_ktime_get_ns();
	if (now_ns < deadline_ns)
		return DECIDE_KEEP;
	if (state == STATE_FROZEN)
		return DECIDE_DROP;
	/* A hold that has run out: what it kept is on its way back, fresh frames stay behind that for a moment. */
	if (state == STATE_HOLD && !is_reentry && outstanding && now_ns < deadline_ns + HOLD_GRACE_NS)
		return DECIDE_KEEP;
	return DECIDE_OWNER;
}

/* A packet whose flow has a record. */
static __always_inline int follow_record(struct __sk_buff *skb, struct flow_value *record, struct settings *settings,
					 int is_reentry, __u32 verdict)
{
	for (int i = 0; i < CAS_TRIES; i++) {
		__u64 word = read_word(record);
		__u32 outstanding = word_outstanding(word);
		int decision = decide(word_state(word), outstanding, record->deadline_ns, is_reentry);

		if (is_reentry) {
			if (decision == DECIDE_KEEP)
				return redirect_to_hold(skb, record->hold_tag, settings->hold_ifindex);
			if (outstanding && !swap_word(record, word, with_outstanding(word, outstanding - 1)))
				continue;
			leave_hold(skb, record);
			verdict = VERDICT_RELEASED;
		} else if (decision == DECIDE_KEEP) {
			if (outstanding == OUTSTANDING_MAX || !has_hold_room(skb, record, settings))
				return drop(VERDICT_DROP_HOLD_FULL);
			if (!swap_word(record, word, with_outstanding(word, outstanding + 1)))
				continue;
			return enter_hold(skb, record, settings);
		}
		if (decision == DECIDE_DROP)
			return drop(VERDICT_DROP_FROZEN);
		count_flow(skb, record);
		return forward(skb, word_owner(word), verdict);
	}
	return drop(VERDICT_DROP_CONTENDED);
}
