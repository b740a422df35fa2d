/*
 * What a client itself says of its position, seen at the one socket that asks for it (a socket filter, no hook of the
 * host): after a crash at level periodic the checkpoint may be old, and only the client knows.
 *
 * A pinned program needs no capability to be attached. Segments that contradict the checkpoint never reach the socket.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "../common/tcp.h"
#include "witness.h"

char _license[] SEC("license") = "GPL";

SEC("socket")
int guard_witness(struct __sk_buff *skb)
{
	__u64 cookie = bpf_get_socket_cookie(skb);
	struct witness *w = bpf_map_lookup_elem(&guard_witnesses, &cookie);
	__u32 seq, ack, end, header_bytes;
	__u8 tcp[16];

	/* The filter of a TCP socket sees its packets from the TCP header on. */
	if (!w || bpf_skb_load_bytes(skb, 0, tcp, sizeof(tcp)))
		return skb->len;
	if (tcp[13] & (TCP_RST | TCP_SYN))
		return skb->len;
	seq = bpf_ntohl(*(__be32 *)(tcp + 4));
	ack = bpf_ntohl(*(__be32 *)(tcp + 8));
	header_bytes = (tcp[12] >> 4) * 4;
	end = seq + skb->len - header_bytes + (tcp[13] & TCP_FIN ? 1 : 0);
	if (!w->seen || is_after(end, w->seq))
		w->seq = end;
	if (!w->seen || is_after(ack, w->ack))
		w->ack = ack;
	__sync_fetch_and_add(&w->seen, 1);
	if (is_after(end, w->expected_seq) || is_after(ack, w->expected_ack)) {
		__sync_fetch_and_add(&w->contradicting, 1);
		return 0;
	}
	if (end == w->expected_seq && seq == end)
		__sync_fetch_and_add(&w->agreeing, 1);
	return skb->len;
}
