/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device layer: the programs at Q, I, D, C and at what happens to a request between them. */
#ifndef IOSTRATA_BLOCK_H
#define IOSTRATA_BLOCK_H

#include "origin.bpf.h"
#include "request.bpf.h"
#include "record.bpf.h"
#include "use.bpf.h"
#include "bio.bpf.h"

enum { MAX_REQUEUES = 255 };

/* Whether the owner filters let a bio through; what they leave out is counted. */
static __always_inline bool claim_wanted(enum claim claim, struct bio *bio, struct provenance *from)
{
	__u32 dev = from->origin.dev;

	if (claim == CLAIM_SELECTED) {
		if (follows_use() && !bpf_map_lookup_elem(&used_devices, &dev))
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
 * Key: 0. Where what is known of a bio is put together when it is queued: old kernels have not the stack for it. A program that
 * interrupts another one on its CPU, and ends before that goes on, has the next level.
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

/* Q: a bio enters a device. Most make requests of bios; others hand them on. */
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
	/* Where owners are chosen, what they wrote is counted when it is written back, whether that is recorded or not. */
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

/* One of the two parts of a bio that was split goes on in `slot`, unless the filters do not let it through. */
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

/* The front of a split bio is a new bio, made and sent on by whoever queued the whole, of which the rest remains. */
static __always_inline int bio_split(struct bio *front)
{
	struct bio *rest = front->bi_private;
	__u64 number = number_of_address((__u64)rest, front);
	struct queued_bio *whole = slot_of(number);
	struct provenance from;
	__u64 queue_ns;
	__u8 evidence;

	/* Of a bio that is handed on the rest ends last, and with it all. What waits at the address of its front is not the front's. */
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
	/* Of the copy, as in take_queued(). */
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
 * Requests are followed while rows are made of what ends: one that was issued before is met at its end, where what was seen of its bios
 * still waits. Bios that are handed on are followed before too, because at their end nothing is to be learned of them.
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
		/* What the filters let through may be merged with it: decided when it is issued. */
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

static __always_inline int request_requeued(struct request *rq)
{
	struct inflight_request *entry = entry_of(number_of(rq));

	if (makes_rows() && entry && entry->phase != PHASE_OVER && entry->phase != PHASE_LEFT_OUT) {
		if (entry->requeues < MAX_REQUEUES)
			entry->requeues++;
		entry->phase = PHASE_REQUEUED;
		/* It may merge again. What is known of all its bios is in `from`. */
		if (!entry->bytes_done)
			entry->bio_or_sector = HOP(rq)->bio ? number_of(HOP(rq)->bio) : 0;
	}
	return 0;
}

/* The request was absorbed by another one, which completes with its bytes: what is known of them waits for that one. */
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
 * Whether a request is over with these `bytes`: when all are done, and when it is the last step of its flush sequence. A request with
 * data completes once for the data and once more, without bytes, at the end of the sequence.
 */
static __always_inline bool ends_with(struct request *rq, __u32 bytes)
{
	bool is_device_flush = (rq->cmd_flags & REQ_OP_MASK) == REQ_OP_FLUSH;

	return bytes >= rq->__data_len && (is_device_flush || !in_flush_sequence(rq));
}

/*
 * C: some bytes of a request completed. An empty flush is never inserted or issued, only the block layer's own flush command is;
 * so it is met here.
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
	/* What was left of an earlier use, by a merge that nobody saw or an end that nobody saw. */
	if (entry && entry->generation != rq->start_time_ns)
		end_unseen(entry);
	if ((!entry || entry->phase == PHASE_OVER) && !meet_request(rq, state)) {
		if (state->phase == PHASE_FILTERED) {
			state->phase = PHASE_LEFT_OUT;
			forget_bios(rq);
		}
		/* Over with this, or met again. */
		if (state->phase == PHASE_LEFT_OUT && ends_with(rq, bytes))
			state->phase = PHASE_OVER;
		keep_left_out(entry, state);
		return 0;
	}
	/* Met here, or failed before it was issued, or issued again. */
	if ((!state->issue_ns || state->phase == PHASE_REQUEUED) && !state->bytes_done)
		describe_request(rq, state, GATHERER_COMPLETED);
	state->bytes_done += bytes;
	if (ends_with(rq, bytes)) {
		/* A flush sequence ends after its data, and a request after all of its parts, whether anyone saw these end or not. */
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
 * Before 5.11 these tracepoints had the queue as their first argument (kernel commit a54895fa057c, and for issue also
 * in 5.10.137). User space counts the arguments in the kernel's BTF and loads one program of each pair.
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

ENTRY(block_bio_queue, bio_queued, struct bio)
ENTRY(block_split, bio_split, struct bio)
ENTRY(block_bio_remap, bio_remapped, struct bio)
ENTRY(block_rq_insert, request_inserted, struct request)
ENTRY(block_rq_issue, request_issued, struct request)
ENTRY(block_rq_requeue, request_requeued, struct request)
ENTRY(block_rq_merge, request_merged, struct request)

SEC("?tp_btf/block_bio_complete")
int TIMED_PROG(iostrata_block_bio_complete, struct request_queue *q, struct bio *bio)
{
	return bio_completed(bio);
}

SEC("?tp_btf/block_rq_complete")
int TIMED_PROG(iostrata_block_rq_complete, struct request *rq, __s32 error, __u32 bytes)
{
	return request_completed(rq, error, bytes);
}

#endif
