// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Activity of disks: requests, bytes and latencies of each process and file, summed in the kernel. User space exchanges the
 * table at an interval, and reads and empties the old one when no program uses it any more: nothing is missed between
 * reading and emptying.
 */
#include "core/kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "core/events.h"
#include "core/disk_filter.bpf.h"
#include "core/request_op.bpf.h"
#include "core/task.bpf.h"
#include "core/page.bpf.h"
#include "core/maker.bpf.h"
#include "core/path.bpf.h"

#include "block_activity/block_activity.h"
#include "block_activity/begun.bpf.h"
#include "block_activity/process.bpf.h"
#include "block_activity/writer.bpf.h"
#include "block_activity/origin.bpf.h"

/* Whether latencies begin when the request is queued (Q2C), not when it is issued (D2C). */
const volatile __u32 from_queueing = 0;

/*
 * Before block_io_start: the owner of a request is found by its first bio, and the queueing time is that in the request.
 * Later kernels may set it earlier (blk_time_get_ns()).
 */
const volatile __u32 finds_by_bio = 0;

/* Table of the sums. Full: the request is counted as lost. */
struct activity_table {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SUMS);
	__type(key, struct activity_key);
	__type(value, struct activity);
};
/* Declared, because 6.1 accepts no table here that was created without type information. */
struct activity_table activity_first SEC(".maps");
struct activity_table activity_second SEC(".maps");
/* Key: 0; value: the table in use. Exchanged by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct activity_table);
} activities SEC(".maps") = { .values = { &activity_first } };

/* Value of new entries. */
static const struct activity no_activity = {};

/* Returns the slot of a latency. */
static __always_inline __u32 latency_slot(__u64 us)
{
	__u32 log, slot;

	if (us < 4)
		return us;
	log = log2_of(us);
	slot = (log - 1) * 4 + (us >> (log - 2) & 3);
	return slot < LATENCY_SLOTS ? slot : LATENCY_SLOTS - 1;
}

/* Returns whether a table has room for the sums of another owner, and counts them. The count is an entry of the table. */
static __always_inline bool has_owner_room(void *table)
{
	struct activity_key key = { .kind = OWNER_COUNT };
	struct activity *count = bpf_map_lookup_elem(table, &key);

	if (!count) {
		bpf_map_update_elem(table, &key, &no_activity, BPF_NOEXIST);
		count = bpf_map_lookup_elem(table, &key);
	}
	if (!count || count->requests >= MAX_OWNER_SUMS)
		return false;
	__sync_fetch_and_add(&count->requests, 1);
	return true;
}

/* Returns the entry of `key`, a new one if there is none; NULL if there is no room. */
static __always_inline struct activity *activity_of(void *table, struct activity_key *key)
{
	struct activity *entry = bpf_map_lookup_elem(table, key);

	if (entry || (key->kind != OWNER_LEFT_OUT && !has_owner_room(table)))
		return entry;
	/* Another CPU may add it meanwhile. */
	bpf_map_update_elem(table, key, &no_activity, BPF_NOEXIST);
	return bpf_map_lookup_elem(table, key);
}

static __always_inline void add_activity(struct activity_key *key, __u32 bytes, __u64 duration_ns)
{
	__u32 zero = 0, slot = latency_slot(duration_ns / 1000);
	void *table = bpf_map_lookup_elem(&activities, &zero);
	struct activity *sums;

	if (!table)
		return;
	key->shard = bpf_get_smp_processor_id() % ACTIVITY_SHARDS;
	sums = activity_of(table, key);
	if (!sums) {
		__builtin_memset(&key->owner, 0, sizeof(key->owner));
		key->kind = OWNER_LEFT_OUT;
		key->io_class = IO_DATA;
		sums = activity_of(table, key);
	}
	if (!sums) {
		count_table_full();
		return;
	}
	__sync_fetch_and_add(&sums->requests, 1);
	__sync_fetch_and_add(&sums->bytes, bytes);
	__sync_fetch_and_add(&sums->duration_ns, duration_ns);
	if (duration_ns > sums->max_ns)
		sums->max_ns = duration_ns;
	slot &= LATENCY_SLOTS - 1;
	__sync_fetch_and_add(&sums->latency[slot], 1);
}

/* Begins a use of a request. Returns its slot; NULL if there is no room. */
static __always_inline struct begun *begin_use(struct request *rq)
{
	__u64 number = number_of(rq);
	struct begun *slot = slot_of(number);

	/* Of an earlier use, which has ended. */
	if (slot && slot->begin_ns && slot->is_timed)
		count_unseen_end();
	if (!slot)
		slot = new_slot(number);
	if (!slot) {
		count_table_full();
		return 0;
	}
	slot->bytes = 0;
	/* At queueing it has no time of its own yet (since 6.13). */
	slot->generation = 0;
	return slot;
}

/* Q: a request is made of a bio, by its submitter. Since 6.5. */
SEC("?tp_btf/block_io_start")
int BPF_PROG(block_activity_queued, struct request *rq)
{
	struct origin_of of = {};
	struct begun *slot;
	struct bio *bio = rq->bio;

	if (!counted_disk(rq) || !bio)
		return 0;
	slot = begin_use(rq);
	if (!slot)
		return 0;
	slot->begin_ns = bpf_ktime_get_ns();
	find_origin(bio, &of, slot->begin_ns);
	slot->of = of;
	slot->is_timed = from_queueing;
	return 0;
}

/* A queued request was merged into another one, and will not be issued. */
SEC("?tp_btf/block_rq_merge")
int BPF_PROG(block_activity_merged, struct request *rq)
{
	struct begun *slot = slot_of(number_of(rq));

	if (slot)
		slot->begin_ns = 0;
	return 0;
}

/* Before block_io_start: a bio gets a request, in the context of its submitter. */
static __always_inline int bio_gets_request(struct bio *bio)
{
	struct origin_of of = {};

	find_origin(bio, &of, bpf_ktime_get_ns());
	put_new_bio(number_of(bio), &of);
	return 0;
}

SEC("?tp_btf/block_getrq")
int BPF_PROG(block_activity_getrq, struct bio *bio)
{
	return bio_gets_request(bio);
}

/* Before 5.11. */
SEC("?tp_btf/block_getrq")
int BPF_PROG(block_activity_getrq_q, struct request_queue *q, struct bio *bio, int rw)
{
	return bio ? bio_gets_request(bio) : 0;
}

/*
 * D: a request goes to the driver, possibly again after the driver returned it. Not needed for latencies from queueing where
 * the owner is known at queueing.
 */
static __always_inline int request_issued(struct request *rq)
{
	struct begun *slot;
	struct bio *bio = rq->bio;

	if (!counted_disk(rq))
		return 0;
	slot = slot_of(number_of(rq));
	if (slot && slot->begin_ns && (!slot->is_timed || slot->generation == rq->start_time_ns)) {
		/* Of this use: queued, or issued before. */
		if (!from_queueing)
			slot->begin_ns = bpf_ktime_get_ns();
	} else {
		/* Flush commands are made of no bio, and never wait in a queue. */
		if (!finds_by_bio && bio)
			return 0;
		slot = begin_use(rq);
		if (!slot)
			return 0;
		__builtin_memset(&slot->of, 0, sizeof(slot->of));
		slot->of.io_class = bio ? IO_DATA : IO_FLUSH;
		slot->of.is_selected = !filters_owners();
		if (bio)
			take_new_bio(number_of(bio), &slot->of);
		slot->begin_ns = from_queueing && bio ? rq->start_time_ns : bpf_ktime_get_ns();
	}
	slot->is_timed = 1;
	slot->generation = rq->start_time_ns;
	return 0;
}

SEC("?tp_btf/block_rq_issue")
int BPF_PROG(block_activity_issue, struct request *rq)
{
	return request_issued(rq);
}

/* Before 5.11, and 5.10.137: the queue is the first argument. */
SEC("?tp_btf/block_rq_issue")
int BPF_PROG(block_activity_issue_q, struct request_queue *q, struct request *rq)
{
	return request_issued(rq);
}

/* Adds a completed request without a begin. */
static __always_inline int without_begin(struct request *rq, struct activity_key *key, __u32 bytes)
{
	__u32 op = rq->cmd_flags & REQ_OP_MASK;

	if (was_never_seen(rq, bytes))
		return 0;
	/* Flush commands are made of no bio, and never wait in a queue. */
	if (op != REQ_OP_FLUSH || !from_queueing) {
		count_unseen_issue();
		return 0;
	}
	if (filters_owners())
		return 0;
	key->io_class = IO_FLUSH;
	key->op = op_of(op, bytes);
	add_activity(key, bytes, bpf_ktime_get_ns() - rq->start_time_ns);
	return 0;
}

/* C: some bytes of a request completed. */
SEC("?tp_btf/block_rq_complete")
int BPF_PROG(block_activity_complete, struct request *rq, __s32 error, __u32 bytes)
{
	struct activity_key key = {};
	__u32 op = rq->cmd_flags & REQ_OP_MASK;
	struct begun *slot;
	__u64 begin_ns;

	key.dev = counted_disk(rq);
	if (!key.dev)
		return 0;
	slot = slot_of(number_of(rq));
	/* `__data_len` is what is left before these bytes. */
	if (bytes < rq->__data_len) {
		if (slot)
			slot->bytes += bytes;
		return 0;
	}
	if (!slot || !slot->begin_ns)
		return without_begin(rq, &key, bytes);
	begin_ns = slot->begin_ns;
	slot->begin_ns = 0;
	bytes += slot->bytes;
	/* An empty flush ends in the queue: the flush command that the block layer sends in its place is counted. */
	if (!slot->is_timed || !slot->of.is_selected || (!bytes && op == REQ_OP_WRITE))
		return 0;
	key.owner = slot->of.owner;
	key.kind = slot->of.kind;
	key.io_class = key.kind == OWNER_PROCESS ? IO_DATA : slot->of.io_class;
	key.op = op_of(op, bytes);
	add_activity(&key, bytes, bpf_ktime_get_ns() - begin_ns);
	return 0;
}

/* As in iostrata.bpf.c. */
struct record_types {
	struct activity_key key;
	struct activity sums;
	struct process_key process;
	struct process_name process_name;
	struct file_key file;
	struct file_name file_name;
	struct request_loss loss;
	struct makers makers;
	enum owner_kind owner_kind;
	enum table_size table_size;
	enum detail detail;
};
const volatile struct record_types *record_types_in_btf = 0;

char LICENSE[] SEC("license") = "GPL";
