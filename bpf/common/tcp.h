/* Of TCP, what every program needs. */
#pragma once
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* a is behind b on the circle of sequence numbers (RFC 9293 §3.4). */
static __always_inline int is_after(__u32 a, __u32 b)
{
	return (__s32)(a - b) > 0;
}
