/* The key of a flow in every map. */
#pragma once
#include <linux/types.h>

/* Core's encodeFlowKey: addresses of 16 bytes (IPv4 mapped) and ports, all in network order. 36 bytes. */
struct flow_key {
	__u32 client[4];
	__u32 vip[4];
	__u16 client_port;
	__u16 vip_port;
};
