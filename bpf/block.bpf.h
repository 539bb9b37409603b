/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device layer: the programs at Q, I, D, C and at what happens to a request between them. */
#ifndef IOSTRATA_BLOCK_H
#define IOSTRATA_BLOCK_H

#include "origin.bpf.h"
#include "request.bpf.h"

enum { MAX_BIOS = 256 };

static __always_inline __u8 op_of(__u32 cmd_flags, __u64 bytes)
{
	__u32 op = cmd_flags & REQ_OP_MASK;

	switch (op) {
	case REQ_OP_READ:
		return OP_READ;
	case REQ_OP_WRITE:
		/* An empty write is a flush as its submitter sees it. */
		return bytes ? OP_WRITE : OP_FLUSH;
	case REQ_OP_FLUSH:
		return OP_DEVICE_FLUSH;
	case REQ_OP_DISCARD:
		return OP_DISCARD;
	case REQ_OP_SECURE_ERASE:
		return OP_SECURE_ERASE;
	case REQ_OP_WRITE_ZEROES:
		return OP_WRITE_ZEROES;
	case REQ_OP_DRV_IN:
		return OP_DRIVER_IN;
	case REQ_OP_DRV_OUT:
		return OP_DRIVER_OUT;
	}
	/* Only the zone operations were renumbered (5.10 to 6.0: 13; since 6.1: 7). */
	if (bpf_core_enum_value_exists(enum req_op, REQ_OP_ZONE_APPEND)) {
		if (op == bpf_core_enum_value(enum req_op, REQ_OP_ZONE_APPEND))
			return OP_ZONE_APPEND;
	} else if (op == REQ_OP_ZONE_APPEND_UNTIL_6_0) {
		return OP_ZONE_APPEND;
	}
	return OP_ZONE_MANAGEMENT;
}

#define FLAG(cmd_flags, bit, ours)                                                                                     \
	(bpf_core_enum_value_exists(enum req_flag_bits, bit) &&                                                        \
			 ((cmd_flags) >> bpf_core_enum_value(enum req_flag_bits, bit) & 1)                             \
		 ? (ours)                                                                                              \
		 : 0)

static __always_inline __u32 flags_of(__u32 cmd_flags)
{
	return FLAG(cmd_flags, __REQ_SYNC, REQUEST_SYNC) | FLAG(cmd_flags, __REQ_META, REQUEST_META) |
	       FLAG(cmd_flags, __REQ_PRIO, REQUEST_PRIO) | FLAG(cmd_flags, __REQ_FUA, REQUEST_FUA) |
	       FLAG(cmd_flags, __REQ_PREFLUSH, REQUEST_PREFLUSH) | FLAG(cmd_flags, __REQ_RAHEAD, REQUEST_RAHEAD) |
	       FLAG(cmd_flags, __REQ_BACKGROUND, REQUEST_BACKGROUND) | FLAG(cmd_flags, __REQ_NOWAIT, REQUEST_NOWAIT) |
	       FLAG(cmd_flags, __REQ_SWAP, REQUEST_SWAP);
}

/* Q: a bio enters a request-based device. Devices that remap bios (dm, md) make no requests of them. */
static __always_inline int bio_queued(struct bio *bio)
{
	struct gendisk *disk = disk_of_bio(bio);
	struct provenance from = {};

	if (!disk->queue->mq_ops || !device_wanted(dev_of_disk(disk)))
		return 0;
	if (find_origin(bio, &from))
		put_queued(number_of(bio), bpf_ktime_get_ns(), &from);
	return 0;
}

/* The front of a split bio is a new bio, made and sent on by whoever queued the whole. */
static __always_inline int bio_split(struct bio *front)
{
	struct queued_bio *whole = slot_of(number_of_address((__u64)front->bi_private, front));
	struct provenance from;
	__u64 queue_ns;
	bool wanted = true;

	if (!whole)
		return 0;
	from = whole->from;
	queue_ns = whole->queue_ns;
	if (from.origin.evidence == EVIDENCE_PAGE) {
		struct bio *rest = front->bi_private;

		if (find_again(rest, &from))
			fill_slot(whole, whole->bio, queue_ns, &from);
		else
			whole->bio = 0;
		wanted = find_again(front, &from);
	}
	if (wanted)
		put_queued(number_of(front), queue_ns, &from);
	return 0;
}

/* 1 or 0, without a branch: in a loop the verifier goes each way of each turn. */
static __always_inline __u32 same_origin(struct origin *one, struct origin *other)
{
	__u64 differs = (one->who.pid ^ other->who.pid) | (one->start_ns ^ other->start_ns) |
			(one->io_class ^ other->io_class);

	return ((differs | -differs) >> 63) ^ 1;
}

/* The request's bios: how many, and what of them belongs to the owner of the first. The others give their slots back. */
static __noinline int gather_bios(struct request *rq, struct origin *origin)
{
	struct bio *bio = rq->bio;
	__u32 bytes, owned;
	int bios = 1;

	if (!bio)
		return 0;
	if (bio == rq->biotail)
		return 1;
	bytes = bio->bi_iter.bi_size;
	owned = origin->owned_bytes < bytes ? origin->owned_bytes : bytes;
	for (int i = 0; i < MAX_BIOS; i++) {
		struct queued_bio *slot;

		bio = bio->bi_next;
		if (!bio)
			break;
		bios++;
		slot = slot_of(number_of(bio));
		if (!slot)
			continue;
		owned += same_origin(&slot->from.origin, origin) * slot->from.origin.owned_bytes;
		slot->bio = 0;
	}
	origin->owned_bytes = owned;
	return bios;
}

/* What is known of a request that is met for the first time; over at once when it is not to be recorded. */
static __always_inline bool meet_request(struct request *rq, struct inflight_request *state)
{
	struct bio *bio = rq->bio;
	__u32 dev = dev_of_disk(disk_of_request(rq));

	/* Not `via`, which is of value only where it was filled. */
	__builtin_memset(state, 0, offsetof(struct inflight_request, from.via));
	state->request = number_of(rq);
	state->generation = rq->start_time_ns;
	state->dev = dev;
	if (!bio || !take_queued(number_of(bio), state)) {
		struct account *account = account_of(CLASS_BLOCK);

		if (by_owner() || !device_wanted(dev)) {
			state->over = 1;
			return false;
		}
		state->queue_ns = state->generation;
		state->from.origin.io_class = class_of_request(rq->cmd_flags);
		/* A device flush has no bio and no one owner. */
		if (account && bio)
			account->unidentified++;
	}
	state->own = state->from.origin.who.pid && state->from.origin.who.pid == config.recorder_pid;
	return true;
}

/* What the request is. To be called when no merge can change it any more. */
static __always_inline void describe_request(struct request *rq, struct inflight_request *state)
{
	state->cmd_flags = rq->cmd_flags;
	state->bytes = rq->__data_len;
	state->sector = rq->__sector;
	state->counted = is_counted(rq);
	state->bios = gather_bios(rq, &state->from.origin);
}

/* Keeps what `meet_request` has filled, unless that is the request's entry already. */
static __always_inline void follow_request(struct request *rq, struct inflight_request *state)
{
	if (make_entry(state) && by_owner()) {
		/* Without an owner filter its completion is recorded all the same, without a start. */
		struct account *account = account_of(CLASS_BLOCK);

		if (account) {
			account->seen++;
			account->inflight_full++;
			count_lost_io(account, rq->cmd_flags & 1 ? OP_WRITE : OP_READ,
				      rq->__data_len);
		}
	}
}

/* Whether `state` is of this use of the request and not left over from an earlier one. */
static __always_inline bool same_use(struct inflight_request *state, struct request *rq, bool inserting)
{
	__u64 generation = rq->start_time_ns;

	if (state->over || state->generation != generation)
		return false;
	/* Kept only where the queue keeps statistics: without it, a second issue needs a requeue in between. */
	return generation || state->requeued || (!inserting && !state->issue_ns);
}

static __always_inline void count_own(struct inflight_request *state, __u8 op)
{
	struct own_io none = {}, *own;
	__u32 dev = state->dev;

	own = bpf_map_lookup_elem(&own_io, &dev);
	if (!own) {
		bpf_map_update_elem(&own_io, &dev, &none, BPF_NOEXIST);
		own = bpf_map_lookup_elem(&own_io, &dev);
		/* More disks than the map holds: the device's books will not balance, which says it. */
		if (!own)
			return;
	}
	if (op == OP_DISCARD || op == OP_SECURE_ERASE) {
		own->discard_ops++;
		own->discard_bytes += state->bytes_done;
	} else if (op == OP_READ) {
		own->read_ops++;
		own->read_bytes += state->bytes_done;
	} else {
		own->write_ops++;
		own->write_bytes += state->bytes_done;
	}
}

static __always_inline void fill_block_event(struct block_event *event, struct inflight_request *state, __u8 op,
					     __s32 error, __u64 end_ns)
{
	__u64 first_ns = state->insert_ns ? state->insert_ns : state->issue_ns;

	fill_head(&event->head, CLASS_BLOCK, op, FD_UNKNOWN, state->queue_ns ? state->queue_ns : end_ns);
	event->duration_ns = state->queue_ns && end_ns ? end_ns - state->queue_ns : MISSING;
	event->queue_ns = state->queue_ns && first_ns ? first_ns - state->queue_ns : MISSING;
	event->insert_ns = state->insert_ns && state->issue_ns ? state->issue_ns - state->insert_ns : MISSING;
	event->sector = op == OP_FLUSH || op == OP_DEVICE_FLUSH ? MISSING : state->sector;
	event->bytes = state->bytes_done;
	event->dev = state->dev;
	event->flags = flags_of(state->cmd_flags) | (state->counted ? 0 : REQUEST_UNCOUNTED);
	event->error = error;
	event->bios = state->bios;
	event->requeues = state->requeues;
	event->origin = state->from.origin;
	/* The parts of a split bio have the whole's. */
	if (state->from.origin.owned_bytes > state->bytes_done)
		event->origin.owned_bytes = state->bytes_done;
}

/* The record of a request that is over; `end_ns` 0 where it is not known since when. */
static __always_inline void emit_request(struct inflight_request *state, __s32 error, __u64 end_ns)
{
	__u8 op = op_of(state->cmd_flags, state->bytes_done);
	struct block_event_via *with_via;
	struct block_event *event;
	void *ring;

	if (state->own) {
		count_own(state, op);
		return;
	}
	ring = ring_of_this_cpu();
	if (!ring)
		return;
	if (state->from.origin.has_via) {
		with_via = reserve_event(ring, CLASS_BLOCK, sizeof(*with_via), op, state->bytes_done);
		if (!with_via)
			return;
		fill_block_event(&with_via->event, state, op, error, end_ns);
		with_via->via = state->from.via;
		submit_event(with_via, sizeof(*with_via));
	} else {
		event = reserve_event(ring, CLASS_BLOCK, sizeof(*event), op, state->bytes_done);
		if (!event)
			return;
		fill_block_event(event, state, op, error, end_ns);
		submit_event(event, sizeof(*event));
	}
}

/*
 * The request is used anew, so its last use is over, but nobody saw it complete. Seen in bursts on 6.18; the
 * likely reason is that the kernel does not run a program again that a softirq interrupts on the same CPU. Its bytes are
 * known since the issue; when it ended is not.
 */
static __always_inline void emit_unseen_end(struct inflight_request *state)
{
	struct account *account = account_of(CLASS_BLOCK);

	if (state->over || !state->issue_ns)
		return;
	if (!state->bytes_done)
		state->bytes_done = state->bytes;
	if (account)
		account->unseen_ends++;
	emit_request(state, 0, 0);
}

/* Whether `entry` is of the use of the request that goes on here. What is left of an earlier use ends. */
static __always_inline bool continues_use(struct inflight_request *entry, struct request *rq, bool inserting)
{
	if (!entry)
		return false;
	if (same_use(entry, rq, inserting))
		return true;
	emit_unseen_end(entry);
	entry->over = 1;
	return false;
}

/* I: a request enters the scheduler. */
static __always_inline int request_inserted(struct request *rq)
{
	struct inflight_request fresh, *entry, *state;

	entry = entry_of(number_of(rq));
	if (continues_use(entry, rq, true)) {
		if (!entry->insert_ns && !entry->issue_ns)
			entry->insert_ns = bpf_ktime_get_ns();
		return 0;
	}
	state = entry ? entry : &fresh;
	if (!meet_request(rq, state))
		return 0;
	state->insert_ns = bpf_ktime_get_ns();
	if (!entry)
		follow_request(rq, state);
	return 0;
}

/* D: a request goes to the driver. No merge can follow, so its bios are final. */
static __always_inline int request_issued(struct request *rq)
{
	struct inflight_request fresh, *entry, *state;

	entry = entry_of(number_of(rq));
	if (continues_use(entry, rq, false)) {
		entry->issue_ns = bpf_ktime_get_ns();
		entry->requeued = 0;
		if (!entry->bytes_done)
			describe_request(rq, entry);
		return 0;
	}
	state = entry ? entry : &fresh;
	if (!meet_request(rq, state))
		return 0;
	describe_request(rq, state);
	state->issue_ns = bpf_ktime_get_ns();
	if (!entry)
		follow_request(rq, state);
	return 0;
}

static __always_inline int request_requeued(struct request *rq)
{
	struct inflight_request *entry = entry_of(number_of(rq));

	if (entry && !entry->over) {
		entry->requeues++;
		entry->requeued = 1;
	}
	return 0;
}

/* The request was absorbed by another one, which completes with its bytes. */
static __always_inline int request_merged(struct request *rq)
{
	struct inflight_request *entry = entry_of(number_of(rq));

	if (entry)
		entry->over = 1;
	return 0;
}

/*
 * C: some bytes of a request completed. It is over when all did, and when it is the last step of its flush sequence: a
 * request with data passes here once for the data and once more, without bytes, at the end of the sequence. An empty
 * flush is never inserted or issued, only the block layer's own flush command is; so it is met here.
 */
static __always_inline int request_completed(struct request *rq, __s32 error, __u32 bytes)
{
	struct inflight_request fresh, *entry, *state;
	bool device_flush, over;

	entry = entry_of(number_of(rq));
	state = entry ? entry : &fresh;
	if (!entry || entry->over) {
		if (!meet_request(rq, state))
			return 0;
		describe_request(rq, state);
	}
	state->bytes_done += bytes;
	device_flush = (state->cmd_flags & REQ_OP_MASK) == REQ_OP_FLUSH;
	over = bytes >= rq->__data_len && (device_flush || !in_flush_sequence(rq));
	if (over) {
		emit_request(state, error, bpf_ktime_get_ns());
		state->over = 1;
	} else if (!entry) {
		follow_request(rq, state);
	}
	return 0;
}

/*
 * Before 5.11 these tracepoints had the queue as their first argument (kernel commit a54895fa057c, and for issue also
 * in 5.10.137). User space counts the arguments in the kernel's BTF and loads one program of each pair.
 */
#define PROGRAM(tracepoint, suffix, type, call, ...)                                                                   \
	SEC("?tp_btf/" #tracepoint)                                                                                    \
	int BPF_PROG(iostrata_##tracepoint##suffix, ##__VA_ARGS__, type *subject)                                      \
	{                                                                                                              \
		return call;                                                                                           \
	}
#define ENTRY(tracepoint, handler, type)                                                                               \
	PROGRAM(tracepoint, , type, handler(subject))                                                                  \
	PROGRAM(tracepoint, _q, type, handler(subject), struct request_queue *q)

ENTRY(block_bio_queue, bio_queued, struct bio)
ENTRY(block_split, bio_split, struct bio)
ENTRY(block_rq_insert, request_inserted, struct request)
ENTRY(block_rq_issue, request_issued, struct request)
ENTRY(block_rq_requeue, request_requeued, struct request)
ENTRY(block_rq_merge, request_merged, struct request)

SEC("?tp_btf/block_rq_complete")
int BPF_PROG(iostrata_block_rq_complete, struct request *rq, __s32 error, __u32 bytes)
{
	return request_completed(rq, error, bytes);
}

#endif
