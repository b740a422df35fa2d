/* The word of a flow's record: taking it apart, putting it together, and the gauges that go with it. */
#pragma once
#include "maps.h"

union word {
	__u64 whole;
	struct record_word parts;
};

static __always_inline __u64 make_word(__u64 state, __u64 outstanding, __u64 owner, __u64 epoch)
{
	union word made = { .parts = { .epoch = epoch, .owner = owner, .outstanding = outstanding, .state = state } };

	return made.whole;
}

static __always_inline struct record_word parts_of(__u64 word)
{
	return ((union word){ .whole = word }).parts;
}

static __always_inline __u32 word_state(__u64 word)
{
	return parts_of(word).state;
}

static __always_inline __u32 word_outstanding(__u64 word)
{
	return parts_of(word).outstanding;
}

static __always_inline __u32 word_owner(__u64 word)
{
	return parts_of(word).owner;
}

static __always_inline __u32 word_epoch(__u64 word)
{
	return parts_of(word).epoch;
}

static __always_inline __u64 with_state(__u64 word, __u64 state)
{
	union word changed = { .whole = word };

	changed.parts.state = state;
	return changed.whole;
}

static __always_inline __u64 with_outstanding(__u64 word, __u64 outstanding)
{
	union word changed = { .whole = word };

	changed.parts.outstanding = outstanding;
	return changed.whole;
}

static __always_inline __u64 read_word(struct flow_value *record)
{
	return *(volatile __u64 *)&record->word;
}

static __always_inline int swap_word(struct flow_value *record, __u64 before, __u64 after)
{
	return __sync_val_compare_and_swap(&record->word, before, after) == before;
}

static __always_inline struct settings *get_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&settings_map, &zero);
}

static __always_inline struct gauges *get_gauges(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&gauges_map, &zero);
}

/* Adds a record; 0, or -1 when there is no room. A record that is already there is left alone and counts as success. */
static __always_inline int insert_record(struct flow_key *key, __u64 word, struct gauges *gauges, __u32 max_flows)
{
	struct flow_value fresh = { .word = word, .last_seen_ns = bpf_ktime_get_ns() };
	long error;

	if (*(volatile __u64 *)&gauges->flows >= max_flows)
		return -1;
	error = bpf_map_update_elem(&flows, key, &fresh, BPF_NOEXIST);
	if (error == 0) {
		__sync_fetch_and_add(&gauges->flows, 1);
		return 0;
	}
	return error == -17 /* EEXIST */ ? 0 : -1;
}

static __always_inline void delete_record(struct flow_key *key, struct gauges *gauges)
{
	if (bpf_map_delete_elem(&flows, key) == 0)
		__sync_fetch_and_add(&gauges->flows, -1);
}
