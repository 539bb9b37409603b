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
#include "core/disk.bpf.h"
#include "core/request_op.bpf.h"

#include "block_latency/block_latency.h"

/* Whether only the disks in `disks` are counted. */
const volatile __u32 selects_disks = 0;

/* Whether latencies begin when the request is queued (Q2C), not when it is issued (D2C). */
const volatile __u32 from_queueing = 0;

/* Before block_io_start: whether the queueing time is that in the request. Later kernels may set it earlier (blk_time_get_ns()). */
const volatile __u32 queued_in_request = 0;

/* Key: kernel device number of a selected disk. Written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} disks SEC(".maps");

/* Time since which each issue is seen. Written by user space. 0: not yet. */
__u64 attached_ns = 0;

/* Request in the driver; with `from_queueing`, one that is queued. */
struct issued {
	/* Begin of its latency. */
	__u64 begin_ns;
	/* start_time_ns of the request: distinguishes the uses of a request. 0 where the kernel does not take it (queue/iostats). */
	__u64 generation;
	__u32 bytes;
	/* 0: queued. It may be merged into another request and never be issued. */
	__u32 is_issued;
};

/*
 * Key: address of a request; value: its begin. The kernel allocates requests when a queue is created, and an address
 * identifies one of them until its completion. Written at queueing and issue, deleted at completion. Full: the request is counted in
 * `latency_losses`.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct issued);
} issued_requests SEC(".maps");

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

/* Key: 0; value: requests that are in no bucket. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct latency_loss);
} latency_losses SEC(".maps");

static __always_inline struct latency_loss *loss_of_this_cpu(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&latency_losses, &zero);
}

static __always_inline void count_table_full(void)
{
	struct latency_loss *loss = loss_of_this_cpu();

	if (loss)
		loss->table_full++;
}

static __always_inline void count_unseen_issue(void)
{
	struct latency_loss *loss = loss_of_this_cpu();

	if (loss)
		loss->unseen_issue++;
}

static __always_inline void count_unseen_end(void)
{
	struct latency_loss *loss = loss_of_this_cpu();

	if (loss)
		loss->unseen_end++;
}

/* Returns the kernel device number of a counted disk; 0: none, or not selected. */
static __always_inline __u32 counted_disk(struct request *rq)
{
	struct gendisk *disk = disk_of_request(rq);
	__u32 dev = disk ? dev_of_disk(disk) : 0;

	return !selects_disks || bpf_map_lookup_elem(&disks, &dev) ? dev : 0;
}

/* Returns the position of the highest bit; 0 for 0 and 1. */
static __always_inline __u8 log2_of(__u64 value)
{
	__u8 log = 0;

	for (__u8 step = 32; step; step /= 2) {
		if (value >> step) {
			value >>= step;
			log += step;
		}
	}
	return log;
}

/* Begins a latency. `left`: entry of the same address. */
static __always_inline int begin_latency(struct request *rq, struct issued *left, __u32 is_issued)
{
	struct issued issued = { .generation = rq->start_time_ns, .bytes = rq->__data_len, .is_issued = is_issued };
	__u64 key = (__u64)rq;

	/* Of an earlier use, which has ended. At queueing the request has no time of its own yet (since 6.13). */
	if (left && left->is_issued && (!is_issued || left->generation != issued.generation))
		count_unseen_end();
	issued.begin_ns = queued_in_request ? rq->start_time_ns : bpf_ktime_get_ns();
	/* The kernel does not take the time (queue/iostats). */
	if (!issued.begin_ns)
		count_unseen_issue();
	else if (bpf_map_update_elem(&issued_requests, &key, &issued, BPF_ANY))
		count_table_full();
	return 0;
}

/* Q: a request is made of a bio. Since 6.5. */
SEC("?tp_btf/block_io_start")
int BPF_PROG(block_latency_queued, struct request *rq)
{
	__u64 key = (__u64)rq;

	return counted_disk(rq) ? begin_latency(rq, bpf_map_lookup_elem(&issued_requests, &key), 0) : 0;
}

/* A queued request was merged into another one, and will not be issued. */
SEC("?tp_btf/block_rq_merge")
int BPF_PROG(block_latency_merged, struct request *rq)
{
	__u64 key = (__u64)rq;
	struct issued *left = bpf_map_lookup_elem(&issued_requests, &key);

	if (left && !left->is_issued)
		bpf_map_delete_elem(&issued_requests, &key);
	return 0;
}

/* D: a request goes to the driver, possibly again after the driver returned it. */
static __always_inline int request_issued(struct request *rq)
{
	__u64 key = (__u64)rq;
	struct issued *left;

	if (!counted_disk(rq))
		return 0;
	left = bpf_map_lookup_elem(&issued_requests, &key);
	/* A queued entry is of this use: each use writes it. */
	if (from_queueing && left && (!left->is_issued || left->generation == rq->start_time_ns)) {
		/* Bios may have been merged into it. */
		left->bytes = rq->__data_len;
		left->generation = rq->start_time_ns;
		left->is_issued = 1;
		return 0;
	}
	/* Queued before the programs were attached, or not reported: its completion tells. */
	if (from_queueing && rq->bio)
		return 0;
	/* With `from_queueing` only flush commands, which are made of no bio and never wait in a queue. */
	return begin_latency(rq, left, 1);
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
	__u64 key = (__u64)rq, duration_ns;
	struct issued *issued;

	bucket.dev = counted_disk(rq);
	/* `__data_len` is what is left before these bytes. */
	if (!bucket.dev || bytes < rq->__data_len)
		return 0;
	issued = bpf_map_lookup_elem(&issued_requests, &key);
	if (!issued) {
		/*
		 * Without bytes it is the end of a flush sequence, of which only the data and the flush command are
		 * issued. A request that is older than the attached programs began before the recording.
		 */
		if ((!bytes && op != REQ_OP_FLUSH) || !attached_ns || rq->start_time_ns < attached_ns)
			return 0;
		count_unseen_issue();
		return 0;
	}
	/* Ended in the queue: an empty flush. */
	if (!issued->is_issued) {
		bpf_map_delete_elem(&issued_requests, &key);
		return 0;
	}
	duration_ns = bpf_ktime_get_ns() - issued->begin_ns;
	bucket.op = op_of(op, issued->bytes);
	bucket.slot = log2_of(duration_ns / 1000);
	sum = bpf_map_lookup_elem(&latency_sums, &bucket);
	if (!sum) {
		/* Another CPU may add the bucket meanwhile, with sums of its own. */
		bpf_map_update_elem(&latency_sums, &bucket, &first, BPF_NOEXIST);
		sum = bpf_map_lookup_elem(&latency_sums, &bucket);
	}
	if (sum) {
		sum->requests++;
		sum->bytes += issued->bytes;
		sum->duration_ns += duration_ns;
	} else {
		count_table_full();
	}
	bpf_map_delete_elem(&issued_requests, &key);
	return 0;
}

/* As in iostrata.bpf.c. */
struct record_types {
	struct latency_key key;
	struct latency_sum sum;
	struct latency_loss loss;
};
const volatile struct record_types *record_types_in_btf = 0;

char LICENSE[] SEC("license") = "GPL";
