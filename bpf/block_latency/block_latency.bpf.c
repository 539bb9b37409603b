// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Latency histograms of block requests, from issue (D2C) or from queueing (Q2C) to completion, by disk and operation.
 * Aggregated per CPU: no record crosses to user space, which reads the sums at an interval.
 */
#include "core/kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "core/events.h"
#include "core/disk_filter.bpf.h"
#include "core/request_op.bpf.h"

#include "block_latency/block_latency.h"

/* Whether latencies begin when the request is queued (Q2C), not when it is issued (D2C). */
const volatile __u32 from_queueing = 0;

/* Before block_io_start: whether the queueing time is that in the request. Later kernels may set it earlier (blk_time_get_ns()). */
const volatile __u32 queued_in_request = 0;

#include "block_latency/begun.bpf.h"

/*
 * Key: bucket; value: its sums since the start. Written at completion. Full: the request is counted in `latency_losses`. User
 * space sets the size by the number of disks. Allocated in advance: an allocation at a completion may fail where many buckets
 * are new at once (seen on 6.12).
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct latency_key);
	__type(value, struct latency_sum);
} latency_sums SEC(".maps");

/* Begins a latency. `slot`: of the request, if it has one. */
static __always_inline int begin_latency(struct request *rq, struct begun *slot, __u32 is_issued)
{
	__u64 begin_ns = queued_in_request ? rq->start_time_ns : bpf_ktime_get_ns();

	/* Of an earlier use, which has ended. At queueing the request has no time of its own yet (since 6.13). */
	if (slot && slot->begin_ns && slot->is_issued && (!is_issued || slot->generation != rq->start_time_ns))
		count_unseen_end();
	/* The kernel does not take the time (queue/iostats). */
	if (!begin_ns)
		count_unseen_issue();
	else if (!slot)
		slot = new_slot(number_of(rq));
	if (!slot) {
		if (begin_ns)
			count_table_full();
		return 0;
	}
	slot->begin_ns = begin_ns;
	slot->generation = rq->start_time_ns;
	slot->bytes = rq->__data_len;
	slot->is_issued = is_issued;
	return 0;
}

/* Q: a request is made of a bio. Since 6.5. */
SEC("?tp_btf/block_io_start")
int BPF_PROG(block_latency_queued, struct request *rq)
{
	return counted_disk(rq) ? begin_latency(rq, slot_of(number_of(rq)), 0) : 0;
}

/* A queued request was merged into another one, and will not be issued. */
SEC("?tp_btf/block_rq_merge")
int BPF_PROG(block_latency_merged, struct request *rq)
{
	struct begun *slot = slot_of(number_of(rq));

	if (slot && !slot->is_issued)
		slot->begin_ns = 0;
	return 0;
}

/* D: a request goes to the driver, possibly again after the driver returned it. */
static __always_inline int request_issued(struct request *rq)
{
	struct begun *slot;

	if (!counted_disk(rq))
		return 0;
	slot = slot_of(number_of(rq));
	/* A queued entry is of this use: each use writes it. */
	if (from_queueing && slot && slot->begin_ns && (!slot->is_issued || slot->generation == rq->start_time_ns)) {
		/* Bios may have been merged into it. */
		slot->bytes = rq->__data_len;
		slot->generation = rq->start_time_ns;
		slot->is_issued = 1;
		return 0;
	}
	/* Queued before the programs were attached, or not reported: its completion tells. */
	if (from_queueing && rq->bio)
		return 0;
	/* With `from_queueing` only flush commands, which are made of no bio and never wait in a queue. */
	return begin_latency(rq, slot, 1);
}

SEC("?tp_btf/block_rq_issue")
int BPF_PROG(block_latency_issue, struct request *rq)
{
	return request_issued(rq);
}

/* Before 5.11, and 5.10.137: the queue is the first argument. */
SEC("?tp_btf/block_rq_issue")
int BPF_PROG(block_latency_issue_q, struct request_queue *q, struct request *rq)
{
	return request_issued(rq);
}

/* C: some bytes of a request completed. */
SEC("?tp_btf/block_rq_complete")
int BPF_PROG(block_latency_complete, struct request *rq, __s32 error, __u32 bytes)
{
	struct latency_sum first = {}, *sum;
	struct latency_key bucket = {};
	__u32 op = rq->cmd_flags & REQ_OP_MASK;
	struct begun *slot;
	__u64 duration_ns;

	bucket.dev = counted_disk(rq);
	/* `__data_len` is what is left before these bytes. */
	if (!bucket.dev || bytes < rq->__data_len)
		return 0;
	slot = slot_of(number_of(rq));
	if (!slot || !slot->begin_ns) {
		if (was_never_seen(rq, bytes))
			return 0;
		count_unseen_issue();
		return 0;
	}
	/* Ended in the queue: an empty flush. */
	if (!slot->is_issued) {
		slot->begin_ns = 0;
		return 0;
	}
	duration_ns = bpf_ktime_get_ns() - slot->begin_ns;
	slot->begin_ns = 0;
	bucket.op = op_of(op, slot->bytes);
	bucket.slot = log2_of(duration_ns / 1000);
	sum = bpf_map_lookup_elem(&latency_sums, &bucket);
	if (!sum) {
		/* Another CPU may add the bucket meanwhile, with sums of its own. */
		bpf_map_update_elem(&latency_sums, &bucket, &first, BPF_NOEXIST);
		sum = bpf_map_lookup_elem(&latency_sums, &bucket);
	}
	if (sum) {
		sum->requests++;
		sum->bytes += slot->bytes;
		sum->duration_ns += duration_ns;
	} else {
		count_table_full();
	}
	return 0;
}

/* As in iostrata.bpf.c. */
struct record_types {
	struct latency_key key;
	struct latency_sum sum;
	struct request_loss loss;
};
const volatile struct record_types *record_types_in_btf = 0;

char LICENSE[] SEC("license") = "GPL";
