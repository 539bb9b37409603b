/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Data that block_latency.bpf.c shares with user space. */
#ifndef IOSTRATA_BLOCK_LATENCY_H
#define IOSTRATA_BLOCK_LATENCY_H

/* One bucket of a histogram: requests of `op` of a disk that took from 2^slot to 2^(slot + 1) - 1 us; slot 0: 0 to 1 us. */
struct latency_key {
	__u32 dev;
	__u8 op;
	__u8 slot;
	__u16 reserved;
};

struct latency_sum {
	__u64 requests;
	__u64 bytes;
	__u64 duration_ns;
};

#endif
