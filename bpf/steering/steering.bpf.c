/*
 * Steering at tc ingress: a record in the flow map wins, then a half-open entry, then Maglev over the service's
 * endpoints. `steer` sits on the VIP's interface, `reenter` on the hold device.
 */
#include "../common/bounds.h"
#include "../common/parsing.h"
#include "hold.h"

static __always_inline __u32 hash_flow(const struct flow_key *flow, __u32 seed)
{
	const __u32 *words = (const __u32 *)flow;
	__u64 hash = seed;

#pragma unroll
	for (int i = 0; i < 9; i++) {
		hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 29;
	}
	return hash >> 32;
}

/* Endpoint that Maglev chooses, or -1. */
static __always_inline int choose_endpoint(const struct flow_key *flow, struct service_value *service,
					   struct settings *settings)
{
	/* Not a remainder: it would cost a division. */
	__u64 slot = ((__u64)hash_flow(flow, settings->hash_seed) * MAGLEV_SIZE) >> 32;
	void *table = bpf_map_lookup_elem(&maglev_tables, &service->table);
	struct maglev_slots *slots;
	__u32 zero = 0;

	if (!table || service->backends == 0)
		return -1;
	slots = bpf_map_lookup_elem(table, &zero);
	/* Always within, but clang makes product, shift and index one shift and a mask, whose bound older verifiers do not see. */
	if (!slots || !IS_WITHIN(slot, MAGLEV_SIZE - 1))
		return -1;
	return slots->endpoints[slot];
}

static __always_inline int steer_syn(struct __sk_buff *skb, struct packet *p, struct service_value *service,
				     struct settings *settings)
{
	struct half_open_value *known = bpf_map_lookup_elem(&half_open, &p->flow);
	struct half_open_value fresh = {};
	struct gauges *gauges = get_gauges();
	int endpoint;

	if (known && has_endpoint(known->endpoint))
		return forward(skb, known->endpoint, VERDICT_SYN);
	if (!gauges || gauges->flows >= settings->max_flows)
		return drop(VERDICT_DROP_TABLE_FULL);
	endpoint = choose_endpoint(&p->flow, service, settings);
	if (endpoint < 0)
		return drop(VERDICT_DROP_NO_BACKEND);
	fresh.endpoint = endpoint;
	bpf_map_update_elem(&half_open, &p->flow, &fresh, BPF_ANY);
	return forward(skb, endpoint, VERDICT_SYN);
}

/* A packet after the SYN, of a flow without a record. */
static __always_inline int steer_unrecorded(struct __sk_buff *skb, struct packet *p, struct service_value *service,
					    struct settings *settings)
{
	struct half_open_value *known = bpf_map_lookup_elem(&half_open, &p->flow);
	struct gauges *gauges = get_gauges();
	__u32 verdict = VERDICT_PROMOTED;
	int endpoint;

	if (!known) {
		/* Evicted by a flood, or ours from before a lost map: the endpoint's announcement makes the record. */
		if (p->kind == KIND_ICMP_ERROR)
			return drop(VERDICT_DROP_ICMP);
		endpoint = choose_endpoint(&p->flow, service, settings);
		return endpoint < 0 ? drop(VERDICT_DROP_NO_BACKEND) : forward(skb, endpoint, VERDICT_FALLBACK);
	}
	endpoint = known->endpoint;
	if (p->kind == KIND_ICMP_ERROR)
		return forward(skb, endpoint, VERDICT_ICMP);
	if (p->kind != KIND_TCP || (p->tcp_flags & TCP_RST) || !(p->tcp_flags & TCP_ACK))
		return forward(skb, endpoint, VERDICT_SYN);
	if (!gauges ||
	    insert_record(&p->flow, make_word(STATE_ACTIVE, 0, endpoint, 0), gauges, settings->max_flows) < 0) {
		count_verdict(VERDICT_TABLE_FULL);
		verdict = VERDICT_SYN;
	} else {
		struct flow_value *record = bpf_map_lookup_elem(&flows, &p->flow);

		bpf_map_delete_elem(&half_open, &p->flow);
		if (record)
			count_flow(skb, record);
	}
	return forward(skb, endpoint, verdict);
}

static __always_inline void fill_fragment_key(struct fragment_key *key, struct packet *p)
{
	__builtin_memcpy(key->source, p->flow.client, 16);
	__builtin_memcpy(key->destination, p->flow.vip, 16);
	key->id = p->fragment_id;
	key->protocol = p->fragment_protocol;
}

/* Ports of a later fragment, from its first. 0, or a verdict is due. */
static __always_inline int find_ports(struct packet *p)
{
	struct fragment_value *first;
	struct fragment_key key;

	fill_fragment_key(&key, p);
	first = bpf_map_lookup_elem(&fragments, &key);
	if (!first)
		return -1;
	p->flow.client_port = first->client_port;
	p->flow.vip_port = first->vip_port;
	return 0;
}

static __always_inline int pass(void)
{
	count_verdict(VERDICT_PASS);
	return TC_ACT_UNSPEC;
}

/* True if a SYN begins a new life: the old session said goodbye, or nobody is there to answer for it. */
static __always_inline int starts_afresh(struct flow_value *record, int is_syn)
{
	__u64 word = read_word(record);
	__u32 state = word_state(word);

	/* Not in the middle of a move: the target may be about to answer for it. */
	return is_syn && (state == STATE_CLOSING || (state == STATE_ACTIVE && !has_endpoint(word_owner(word))));
}

static __always_inline int is_expired(struct flow_value *record)
{
	return word_state(read_word(record)) == STATE_CLOSING && bpf_ktime_get_ns() >= record->deadline_ns;
}

static __always_inline int steer_packet(struct __sk_buff *skb, int is_reentry)
{
	struct packet p = {};
	struct settings *settings = get_settings();
	struct gauges *gauges = get_gauges();
	struct service_key service_key = {};
	struct service_value *service;
	struct flow_value *record;
	int is_syn;

	parse_packet(skb, &p, FROM_CLIENT);
	if (p.kind == KIND_OTHER || !settings || !gauges)
		return pass();
	if (p.kind == KIND_FRAGMENT && find_ports(&p) < 0)
		return bpf_map_lookup_elem(&vips, p.flow.vip) ? drop(VERDICT_DROP_FRAGMENT) : pass();
	if (p.is_first_fragment && bpf_map_lookup_elem(&vips, p.flow.vip)) {
		struct fragment_value ports = { p.flow.client_port, p.flow.vip_port };
		struct fragment_key key;

		fill_fragment_key(&key, &p);
		bpf_map_update_elem(&fragments, &key, &ports, BPF_ANY);
	}
	is_syn = p.kind == KIND_TCP && (p.tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;

	record = bpf_map_lookup_elem(&flows, &p.flow);
	if (record && !is_reentry && (is_expired(record) || starts_afresh(record, is_syn))) {
		delete_record(&p.flow, gauges);
		record = 0;
	}
	if (record) {
		if (p.kind == KIND_TCP && (p.tcp_flags & TCP_RST))
			__sync_fetch_and_or(&record->flags, FLAG_SAW_RESET);
		return follow_record(skb, record, settings, is_reentry,
				     p.kind == KIND_ICMP_ERROR ? VERDICT_ICMP : VERDICT_STEERED);
	}
	if (is_reentry)
		leave_hold(skb, 0);
	__builtin_memcpy(service_key.vip, p.flow.vip, 16);
	service_key.port = p.flow.vip_port;
	service = bpf_map_lookup_elem(&services, &service_key);
	if (!service)
		return pass();
	if (settings->rebuilding)
		return drop(VERDICT_DROP_REBUILDING);
	return is_syn ? steer_syn(skb, &p, service, settings) : steer_unrecorded(skb, &p, service, settings);
}

SEC("tc")
int steer(struct __sk_buff *skb)
{
	return steer_packet(skb, 0);
}

SEC("tc")
int reenter(struct __sk_buff *skb)
{
	return steer_packet(skb, 1);
}

char LICENSE[] SEC("license") = "GPL";
