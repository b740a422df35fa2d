/*
 * The only writer of decisions into flow records. User space puts commands into command_map and runs this program by
 * BPF_PROG_TEST_RUN: each is a compare-and-set inside the kernel, so an old epoch is refused here and counters stay.
 */
#include "record.h"

static __always_inline __u32 finish(struct command *command, struct flow_value *record, __u32 result)
{
	command->result = result;
	if (record) {
		command->word = read_word(record);
		command->hold_tag = record->hold_tag;
	}
	return result;
}

/* A release whose deadline has passed is over. */
static __always_inline __u32 effective_state(__u64 word, struct flow_value *record)
{
	__u32 state = word_state(word);

	if (state == STATE_RELEASING && bpf_ktime_get_ns() >= record->deadline_ns)
		return STATE_ACTIVE;
	return state;
}

static __always_inline __u32 claim(struct command *command, struct flow_value *record, struct gauges *gauges,
				   struct settings *settings)
{
	__u64 fresh = make_word(STATE_ACTIVE, 0, command->endpoint, command->epoch);

	if (!record) {
		struct flow_key flow = command->flow;

		if (insert_record(&flow, fresh, gauges, settings->max_flows) < 0)
			return finish(command, 0, RESULT_FULL);
		record = bpf_map_lookup_elem(&flows, &flow);
		if (!record)
			return finish(command, 0, RESULT_ABSENT);
	}
	for (int i = 0; i < CAS_TRIES; i++) {
		__u64 word = read_word(record);
		int is_same_owner = word_owner(word) == command->endpoint;

		/* The owner itself said the old session ended: its next one counts from 0. */
		if (word_state(word) == STATE_CLOSING && is_same_owner)
			;
		else if (word_epoch(word) == command->epoch && is_same_owner)
			return finish(command, record, RESULT_OK);
		else if (word_epoch(word) >= command->epoch)
			return finish(command, record, RESULT_STALE);
		if (swap_word(record, word, with_outstanding(fresh, word_outstanding(word))))
			return finish(command, record, RESULT_OK);
	}
	return finish(command, record, RESULT_PHASE);
}

/* The state after `op` in `state`, or 0 if it is not allowed there. */
static __always_inline __u32 next_state(__u32 op, __u32 state, __u32 outstanding)
{
	switch (op) {
	case OP_HOLD:
		return state == STATE_ACTIVE || state == STATE_HOLD ? STATE_HOLD : 0;
	case OP_FREEZE:
		return state == STATE_ACTIVE || state == STATE_HOLD || state == STATE_FROZEN ? STATE_FROZEN : 0;
	case OP_SWITCH:
		return state == STATE_HOLD || state == STATE_FROZEN ? state : 0;
	case OP_RELEASE:
		if (state == STATE_CLOSING)
			return 0;
		return state == STATE_ACTIVE || outstanding == 0 ? STATE_ACTIVE : STATE_RELEASING;
	case OP_SETTLE:
		if (state == STATE_RELEASING)
			return outstanding == 0 ? STATE_ACTIVE : 0;
		return state == STATE_ACTIVE ? STATE_ACTIVE : 0;
	case OP_FORGET:
		return state == STATE_RELEASING ? STATE_ACTIVE : state;
	case OP_CLOSE:
		return STATE_CLOSING;
	}
	return 0;
}

static __always_inline __u64 next_word(struct command *command, __u64 word, __u32 state)
{
	if (command->op == OP_SWITCH)
		return make_word(state, word_outstanding(word), command->endpoint, command->new_epoch);
	if (command->op == OP_FORGET)
		return with_outstanding(with_state(word, state), 0);
	return with_state(word, state);
}

/* Before the word, so that no packet reads a new state with an old deadline; this program alone writes it. */
static __always_inline void set_deadline(struct command *command, struct flow_value *record)
{
	if (command->op == OP_HOLD || command->op == OP_FREEZE || command->op == OP_CLOSE || command->op == OP_RELEASE)
		record->deadline_ns = command->deadline_ns;
	if ((command->op == OP_HOLD || command->op == OP_FREEZE) && record->hold_tag == 0)
		record->hold_tag = command->hold_tag;
}

static __always_inline __u32 change(struct command *command, struct flow_value *record)
{
	for (int i = 0; i < CAS_TRIES; i++) {
		__u64 word = read_word(record);
		__u32 state;

		if (word_epoch(word) != command->epoch)
			return finish(command, record, RESULT_STALE);
		if (command->op == OP_SWITCH && command->new_epoch <= command->epoch)
			return finish(command, record, RESULT_STALE);
		state = next_state(command->op, effective_state(word, record), word_outstanding(word));
		if (!state)
			return finish(command, record, RESULT_PHASE);
		set_deadline(command, record);
		if (!swap_word(record, word, next_word(command, word, state)))
			continue;
		if (command->op == OP_FORGET)
			record->held_bytes = 0;
		return finish(command, record, RESULT_OK);
	}
	return finish(command, record, RESULT_PHASE);
}

static __always_inline __u32 remove(struct command *command, struct flow_value *record, struct gauges *gauges)
{
	struct flow_key flow = command->flow;
	__u64 word = read_word(record);

	if (word_epoch(word) != command->epoch)
		return finish(command, record, RESULT_STALE);
	if (command->op == OP_EXPIRE &&
	    (word_state(word) != STATE_CLOSING || bpf_ktime_get_ns() < record->deadline_ns))
		return finish(command, record, RESULT_PHASE);
	command->word = word;
	command->hold_tag = record->hold_tag;
	delete_record(&flow, gauges);
	return finish(command, 0, RESULT_OK);
}

static long run_command(__u32 index, struct command_batch *batch)
{
	struct settings *settings = get_settings();
	struct gauges *gauges = get_gauges();
	struct flow_value *record;
	struct command *command;
	struct flow_key flow;

	if (index >= MAX_COMMANDS || !settings || !gauges)
		return 1;
	command = &batch->commands[index];
	flow = command->flow;
	command->word = 0;
	if (command->op == OP_RESET_HELD) {
		gauges->held_bytes = 0;
		gauges->held_frames = 0;
		finish(command, 0, RESULT_OK);
		return 0;
	}
	record = bpf_map_lookup_elem(&flows, &flow);
	if (command->op == OP_CLAIM)
		claim(command, record, gauges, settings);
	else if (!record)
		finish(command, 0, RESULT_ABSENT);
	else if (command->op == OP_REMOVE || command->op == OP_EXPIRE)
		remove(command, record, gauges);
	else
		change(command, record);
	return 0;
}

struct control_call {
	__u32 count;
};

static long run_indexed(__u32 index, void *unused)
{
	__u32 zero = 0;
	struct command_batch *batch = bpf_map_lookup_elem(&command_map, &zero);

	return batch ? run_command(index, batch) : 1;
}

SEC("syscall")
int control(struct control_call *call)
{
	__u32 count = call->count;

	if (count > MAX_COMMANDS)
		return 1;
	bpf_loop(count, run_indexed, 0, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
