/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Block layer: programs at Q, I, D, C and at the events of a request between them. */
#ifndef IOSTRATA_BLOCK_H
#define IOSTRATA_BLOCK_H

#include "owner/origin.bpf.h"
#include "block/request.bpf.h"
#include "block/record.bpf.h"
#include "block/use.bpf.h"
#include "block/bio.bpf.h"

enum { MAX_REQUEUES = 255 };

/* Returns whether the owner filters select a bio; counts a bio that they exclude. */
static __always_inline bool claim_wanted(enum claim claim, struct bio *bio, struct provenance *from)
{
	__u32 dev = from->origin.dev;

	if (claim == CLAIM_SELECTED) {
		if (follows_use() && !is_used(dev))
			use_device(dev);
		return true;
	}
	if (claim == CLAIM_NOBODY && unowned_wanted(dev))
		return true;
	if (claim == CLAIM_NOBODY || from->origin.who.pid != config.recorder_pid)
		count_left_out(dev, claim, bio->bi_opf & REQ_OP_MASK, bio->bi_iter.bi_size);
	return false;
}

/*
 * Key: 0. Scratch space for a bio that is queued: it does not fit on the stack on older kernels. A program that
 * interrupts another one on its CPU, and ends before that one goes on, uses the next level.
 */
enum { QUEUEING_LEVELS = 4 };
struct queueing {
	__u64 depth;
	struct queued_as level[QUEUEING_LEVELS];
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct queueing);
} queueing SEC(".maps");

/* Q: a bio enters a device. Most devices are request-based: they create requests from bios. Bio-based devices pass bios on. */
static __always_inline void queue_bio(struct bio *bio, struct queued_as *as)
{
	struct provenance *from = &as->from;
	struct gendisk *disk = disk_of_bio(bio);
	bool is_sampled, becomes_request = makes_requests(disk);
	__u64 queue_ns;

	if (waits_for_flush(number_of(bio)))
		end_unseen_flush(number_of(bio));
	if (!becomes_request)
		hands_bios_on = 1;
	if (hands_bios_on)
		end_unseen_bio(number_of(bio));
	from->origin.dev = dev_of_disk(disk);
	is_sampled = samples_this_moment();
	if (!disk_wanted(from->origin.dev)) {
		forget_queued(number_of(bio));
		return;
	}
	/*
	 * With an owner filter, the dirty bytes of a process are counted when they are written back, whether that is
	 * recorded or not.
	 */
	if (is_sampled || by_owner()) {
		enum claim claim = find_origin(bio, as);

		if (by_owner() && !claim_wanted(claim, bio, from)) {
			if (becomes_request)
				mark_filtered(number_of(bio));
			return;
		}
	}
	if (!is_sampled) {
		if (becomes_request)
			mark_left_out(number_of(bio));
		return;
	}
	queue_ns = bpf_ktime_get_ns();
	if (from->origin.others)
		keep_parts(number_of(bio), queue_ns, &from->origin, GATHERER_QUEUED);
	if (becomes_request)
		put_queued(number_of(bio), queue_ns, from);
	else
		begin_bio(bio, queue_ns, from);
}

static __always_inline int bio_queued(struct bio *bio)
{
	__u32 zero = 0;
	struct queueing *place = bpf_map_lookup_elem(&queueing, &zero);
	struct queued_as *as;

	if (!place)
		return 0;
	as = &place->level[place->depth & (QUEUEING_LEVELS - 1)];
	place->depth++;
	__builtin_memset(as, 0, sizeof(*as));
	queue_bio(bio, as);
	place->depth--;
	return 0;
}

/* Queues one of the two parts of a split bio in `slot`, unless the filters exclude it. */
static __always_inline void queue_part(struct bio *part, __u64 number, struct queued_bio *slot, __u64 queue_ns,
				       struct provenance *from)
{
	if (!slot)
		return;
	if (!find_again(part, from)) {
		mark_filtered(number);
		return;
	}
	if (from->origin.others)
		keep_parts(number, queue_ns, &from->origin, GATHERER_SPLIT);
	fill_slot(slot, number, queue_ns, from);
}

/*
 * Handles a split. The front of a split bio is a new bio, created and submitted by the submitter of the whole bio,
 * which keeps the rest.
 */
static __always_inline int bio_split(struct bio *front)
{
	struct bio *rest = front->bi_private;
	__u64 number = number_of_address((__u64)rest, front);
	struct queued_bio *whole = slot_of(number);
	struct provenance from;
	__u64 queue_ns;
	__u8 evidence;

	/*
	 * On a bio-based device the rest ends last, and with it the whole. An entry at the address of the front is not
	 * the front's.
	 */
	if (hands_bios_on)
		end_unseen_bio(number_of(front));
	if (!whole) {
		forget_queued(number_of(front));
		return 0;
	}
	if (is_marked_left_out(whole)) {
		mark_left_out(number_of(front));
		return 0;
	}
	if (is_marked_filtered(whole)) {
		mark_filtered(number_of(front));
		return 0;
	}
	from = whole->from;
	queue_ns = whole->queue_ns;
	/* The check is of the copy, as in take_queued(). */
	if (whole->check != check_of(number, queue_ns, &from)) {
		forget_queued(number_of(front));
		return 0;
	}
	evidence = from.origin.evidence;
	queue_part(rest, number, whole, queue_ns, &from);
	from.origin.evidence = evidence;
	queue_part(front, number_of(front), slot_for(number_of(front)), queue_ns, &from);
	return 0;
}

/*
 * Requests are tracked in the recording window: a request that was issued before is first seen at its completion, where
 * the data of its bios is still stored. Bios of bio-based devices are tracked before the window too, because their
 * completion has no such data.
 */

/* I: a request enters the scheduler. */
static __always_inline int request_inserted(struct request *rq)
{
	struct inflight_request fresh, *entry, *state;

	if (!makes_rows())
		return 0;
	entry = entry_of(number_of(rq));
	if (stays_left_out(entry, rq))
		return 0;
	if (continues_use(entry, rq, true)) {
		if (!entry->insert_ns && !entry->issue_ns)
			entry->insert_ns = bpf_ktime_get_ns();
		return 0;
	}
	state = entry ? entry : &fresh;
	if (!meet_request(rq, state)) {
		/* Bios that the filters select may be merged with it: decided at issue. */
		if (state->phase == PHASE_FILTERED)
			state->phase = PHASE_OVER;
		keep_left_out(entry, state);
		return 0;
	}
	state->insert_ns = bpf_ktime_get_ns();
	if (!entry)
		make_entry(state);
	return 0;
}

/* D: a request goes to the driver. No merge can follow, so its bios are final. */
static __always_inline int request_issued(struct request *rq)
{
	struct inflight_request fresh, *entry, *state;

	if (!makes_rows())
		return 0;
	entry = entry_of(number_of(rq));
	if (stays_left_out(entry, rq)) {
		forget_bios(rq);
		return 0;
	}
	if (continues_use(entry, rq, false)) {
		entry->issue_ns = bpf_ktime_get_ns();
		entry->phase = PHASE_UNDER_WAY;
		if (!entry->bytes_done)
			describe_request(rq, entry, GATHERER_ISSUED);
		return 0;
	}
	state = entry ? entry : &fresh;
	if (!meet_request(rq, state)) {
		if (state->phase == PHASE_FILTERED)
			state->phase = PHASE_LEFT_OUT;
		if (state->phase == PHASE_LEFT_OUT)
			forget_bios(rq);
		keep_left_out(entry, state);
		return 0;
	}
	describe_request(rq, state, GATHERER_ISSUED);
	state->issue_ns = bpf_ktime_get_ns();
	if (!entry)
		make_entry(state);
	return 0;
}

/* Handles a request that the driver returns. */
static __always_inline int request_requeued(struct request *rq)
{
	struct inflight_request *entry = entry_of(number_of(rq));

	if (makes_rows() && entry && entry->phase != PHASE_OVER && entry->phase != PHASE_LEFT_OUT) {
		if (entry->requeues < MAX_REQUEUES)
			entry->requeues++;
		entry->phase = PHASE_REQUEUED;
		/* It may be merged again. `from` describes all its bios. */
		if (!entry->bytes_done)
			entry->bio_or_sector = HOP(rq)->bio ? number_of(HOP(rq)->bio) : 0;
	}
	return 0;
}

/* Handles a request that was merged into another one, which completes with its bytes: its data is stored for that one. */
static __always_inline int request_merged(struct request *rq)
{
	struct inflight_request *entry = entry_of(number_of(rq));
	bool waiting;

	if (!makes_rows())
		return 0;
	if (stays_left_out(entry, rq)) {
		entry->phase = PHASE_OVER;
		return 0;
	}
	if (!continues_use(entry, rq, false))
		return 0;
	waiting = !entry->issue_ns || (entry->phase == PHASE_REQUEUED && !entry->bytes_done);
	entry->phase = PHASE_OVER;
	if (!waiting || !entry->bio_or_sector)
		return 0;
	if (entry->from.origin.others)
		move_parts(entry->request, entry->bio_or_sector, entry->queue_ns, &entry->from.origin);
	put_queued(entry->bio_or_sector, entry->queue_ns, &entry->from);
	return 0;
}

/*
 * Returns whether a request ends with these `bytes`: all bytes are done, and this is the last step of its flush
 * sequence. A request with data completes once for the data and once more, without bytes, at the end of the sequence.
 */
static __always_inline bool ends_with(struct request *rq, __u32 bytes)
{
	bool is_device_flush = (rq->cmd_flags & REQ_OP_MASK) == REQ_OP_FLUSH;

	return bytes >= rq->__data_len && (is_device_flush || !in_flush_sequence(rq));
}

/*
 * C: some bytes of a request completed. An empty flush is never inserted or issued, only the block layer's own flush
 * command is; so it is first seen here.
 */
static __always_inline int request_completed(struct request *rq, __s32 error, __u32 bytes)
{
	struct inflight_request fresh, *entry, *state;

	if (!makes_rows())
		return 0;
	entry = entry_of(number_of(rq));
	state = entry ? entry : &fresh;
	if (stays_left_out(entry, rq)) {
		if (ends_with(rq, bytes))
			entry->phase = PHASE_OVER;
		return 0;
	}
	/* Left over from an earlier use, after an unseen merge or an unseen end. */
	if (entry && entry->generation != rq->start_time_ns)
		end_unseen(entry);
	if ((!entry || entry->phase == PHASE_OVER) && !meet_request(rq, state)) {
		if (state->phase == PHASE_FILTERED) {
			state->phase = PHASE_LEFT_OUT;
			forget_bios(rq);
		}
		/* Ended, or seen again. */
		if (state->phase == PHASE_LEFT_OUT && ends_with(rq, bytes))
			state->phase = PHASE_OVER;
		keep_left_out(entry, state);
		return 0;
	}
	/* First seen here, or failed before it was issued, or issued again. */
	if ((!state->issue_ns || state->phase == PHASE_REQUEUED) && !state->bytes_done)
		describe_request(rq, state, GATHERER_COMPLETED);
	state->bytes_done += bytes;
	if (ends_with(rq, bytes)) {
		/*
		 * A flush sequence ends after its data, and a request after all of its parts, whether these ends were
		 * seen or not.
		 */
		if (state->issue_ns && state->phase == PHASE_UNDER_WAY && state->bytes_done < state->bytes)
			state->bytes_done = state->bytes;
		emit_request(state, error, bpf_ktime_get_ns());
		state->phase = PHASE_OVER;
	} else if (!entry) {
		make_entry(state);
	}
	return 0;
}

/*
 * Before 5.11 these tracepoints had the queue as their first argument (removed by kernel commit a54895fa057c, and for
 * issue also in 5.10.137). User space counts the arguments in the kernel's BTF, and loads one program of each pair.
 */
#define PROGRAM(tracepoint, suffix, type, call, ...)                                                                   \
	SEC("?tp_btf/" #tracepoint)                                                                                    \
	int TIMED_PROG(iostrata_##tracepoint##suffix, ##__VA_ARGS__, type *subject)                                    \
	{                                                                                                              \
		return call;                                                                                           \
	}
#define ENTRY(tracepoint, handler, type)                                                                               \
	PROGRAM(tracepoint, , type, handler(subject))                                                                  \
	PROGRAM(tracepoint, _q, type, handler(subject), struct request_queue *q)

/* block_bio_queue: Q. Stores the origin of the bio. */
ENTRY(block_bio_queue, bio_queued, struct bio)
/* block_split: a bio is split in two. Both get the origin of the whole. */
ENTRY(block_split, bio_split, struct bio)
/* block_bio_remap: a bio is passed on to another disk. Emits the record of the bio at the disk above. */
ENTRY(block_bio_remap, bio_remapped, struct bio)
/* block_rq_insert: I. Stores the time. */
ENTRY(block_rq_insert, request_inserted, struct request)
/* block_rq_issue: D. Stores the time and describes the request. */
ENTRY(block_rq_issue, request_issued, struct request)
/* block_rq_requeue: the driver returns a request. Counts the requeue. */
ENTRY(block_rq_requeue, request_requeued, struct request)
/* block_rq_merge: a request is merged into another one. Moves its origin to that one. */
ENTRY(block_rq_merge, request_merged, struct request)

/* block_bio_complete: end of a bio that was not part of a request. Emits its record on a bio-based device. */
SEC("?tp_btf/block_bio_complete")
int TIMED_PROG(iostrata_block_bio_complete, struct request_queue *q, struct bio *bio)
{
	return bio_completed(bio);
}

/* block_rq_complete: C. Emits the record of a request that ends. */
SEC("?tp_btf/block_rq_complete")
int TIMED_PROG(iostrata_block_rq_complete, struct request *rq, __s32 error, __u32 bytes)
{
	return request_completed(rq, error, bytes);
}

#endif
