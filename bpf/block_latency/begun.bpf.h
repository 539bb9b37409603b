/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests whose latency has begun. */
#ifndef IOSTRATA_BEGUN_LATENCY_H
#define IOSTRATA_BEGUN_LATENCY_H

/* Request in the driver; with `from_queueing`, one that is queued. */
struct begun {
	/* number_of() the request; 0: a free slot. */
	__u64 request;
	/* Begin of its latency; 0: none has begun. */
	__u64 begin_ns;
	/* start_time_ns of the request: distinguishes the uses of a request. 0 where the kernel does not take it (queue/iostats). */
	__u64 generation;
	__u32 bytes;
	/* 0: queued. It may be merged into another request and never be issued. */
	__u32 is_issued;
};

#include "core/begun.bpf.h"

#endif
