/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Use of a request: its data when it is first seen, its description, whether it is recorded, and how it is
 * distinguished from the next use of the same request.
 */
#ifndef IOSTRATA_USE_H
#define IOSTRATA_USE_H

enum { MAX_BIOS = 256 };

/* Returns the number of the first bio of a request with data in `queued`; 0: none. */
static __always_inline __u64 first_known(struct request *rq)
{
	struct bio *bio = HOP(rq)->bio;

	for (int i = 0; i < MAX_BIOS; i++) {
		if (!bio)
			break;
		if (is_queued(number_of(bio)))
			return number_of(bio);
		bio = bio->bi_next;
	}
	return 0;
}

/*
 * Collects the parts of a request: those of the bio that `state` was created from and those of its other bios, and
 * frees their slots.
 */
static __always_inline void gather_bios(struct request *rq, struct inflight_request *state, __u32 gatherer)
{
	struct gathering *gathering = gathering_of(gatherer);
	struct bio *bio = HOP(rq)->bio;
	struct part_list *list;

	if (!bio)
		return;
	state->bios = 1;
	if (!gathering || (bio == HOP(rq)->biotail && !state->from.origin.others))
		return;
	list = parts_of(state->request, state->queue_ns, &state->from.origin);
	if (list)
		gathering->list = *list;
	gathering->list.count = list ? list->count : 1;
	fill_part(&gathering->list.part[0], &state->from);
	state->bios = 0;
	for (int i = 0; i < MAX_BIOS; i++) {
		if (!bio)
			break;
		state->bios++;
		gather_bio(number_of(bio), gatherer);
		bio = bio->bi_next;
	}
	keep_parts(state->request, state->queue_ns, &state->from.origin, gatherer);
	state->from.origin.owned_bytes = gathering->list.part[0].bytes;
	/* The owner's part may have become one of several files. */
	state->from.origin.ino = gathering->list.part[0].ino;
}

/* Moves the data of the request's first bio, or otherwise of the first bio with data, into `state`. */
static __always_inline bool take_first(struct request *rq, struct inflight_request *state)
{
	struct bio *bio = HOP(rq)->bio;
	__u64 number;

	if (!bio)
		return false;
	number = number_of(bio);
	if (!take_queued(number, state)) {
		number = bio == HOP(rq)->biotail || state->phase == PHASE_LEFT_OUT ? 0 : first_known(rq);
		if (!number || !take_queued(number, state))
			return false;
		state->phase = PHASE_UNDER_WAY;
	}
	state->bio_or_sector = number;
	if (state->from.origin.others)
		move_parts(number, state->request, state->queue_ns, &state->from.origin);
	return true;
}

/* Returns whether a request with unknown bios began in a time slice that is not recorded. */
static __always_inline bool begins_left_out(struct request *rq)
{
	__u64 start_ns = rq->start_time_ns;

	return start_ns ? !in_sample(start_ns) : !samples_this_moment();
}

/* Removes the data of the bios of a request that is excluded: nothing will use it. */
static __always_inline void forget_bios(struct request *rq)
{
	struct bio *bio = HOP(rq)->bio;

	if (!bio || (bio == HOP(rq)->biotail && !by_owner()))
		return;
	for (int i = 0; i < MAX_BIOS; i++) {
		if (!bio)
			break;
		forget_bio(number_of(bio));
		bio = bio->bi_next;
	}
}

/* Fills in a request that is first seen. False if it is not recorded; its phase is then set accordingly. */
static __always_inline bool meet_request(struct request *rq, struct inflight_request *state)
{
	struct bio *bio = HOP(rq)->bio;
	__u32 dev = dev_of_disk(disk_of_request(rq));

	state->request = number_of(rq);
	/* Neither the number, by which other CPUs look for slots, nor the submitter, which is valid only if it was filled in. */
	__builtin_memset(&state->generation, 0, offsetof(struct inflight_request, from.submitter) - sizeof(state->request));
	state->generation = rq->start_time_ns;
	if (!take_first(rq, state) || state->from.origin.dev != dev) {
		struct account *account = account_of(CLASS_BLOCK);

		if (state->phase == PHASE_LEFT_OUT || state->phase == PHASE_FILTERED)
			return false;
		if (!disk_wanted(dev) || !unowned_wanted(dev)) {
			state->phase = PHASE_OVER;
			return false;
		}
		if (begins_left_out(rq)) {
			state->phase = PHASE_LEFT_OUT;
			return false;
		}
		__builtin_memset(&state->from.origin, 0, sizeof(state->from.origin));
		state->from.origin.dev = dev;
		state->bio_or_sector = 0;
		state->queue_ns = state->generation;
		state->from.origin.io_class = class_of_request(rq->cmd_flags);
		/* A device flush has no bio and no single owner. */
		if (account && bio)
			account->unidentified++;
	}
	return true;
}

/* Returns whether the request is the recorder's own. A request with parts of others is theirs too. */
static __always_inline bool is_own(struct inflight_request *state)
{
	struct part_list *list;

	if (!state->from.origin.who.pid || state->from.origin.who.pid != config.recorder_pid)
		return false;
	if (!state->from.origin.others)
		return true;
	list = parts_of(state->request, state->queue_ns, &state->from.origin);
	for (__u32 i = 1; i < MAX_PARTS; i++) {
		if (!list || i >= list->count)
			break;
		if (list->part[i].who.pid != config.recorder_pid)
			return false;
	}
	return list;
}

/* Describes the request. Must be called when no merge can change it any more. */
static __always_inline void describe_request(struct request *rq, struct inflight_request *state, __u32 gatherer)
{
	state->op = op_of(rq->cmd_flags & REQ_OP_MASK, rq->__data_len);
	state->flags = flags_of(rq->cmd_flags) | (is_counted(rq) ? 0 : REQUEST_UNCOUNTED);
	state->bytes = rq->__data_len;
	state->bio_or_sector = rq->__sector;
	gather_bios(rq, state, gatherer);
	state->own = is_own(state);
}

/*
 * Returns whether the request has become older since it was first seen: one that absorbs an older one, before it is
 * issued, takes over that one's start time (attempt_merge() in block/blk-merge.c). A new use would be younger.
 */
static __always_inline bool took_older_start(struct inflight_request *state, __u64 generation)
{
	return generation < state->generation && (!state->issue_ns || state->phase == PHASE_REQUEUED);
}

/*
 * Returns whether this use of the request was excluded. A request that is excluded when first seen gets an entry for
 * that, so that the decision is not made again when a merge gives it another first bio, or when some of its bytes are
 * done.
 */
static __always_inline bool stays_left_out(struct inflight_request *entry, struct request *rq)
{
	/* As in took_older_start(). */
	return (config.samples || by_owner()) && entry && entry->phase == PHASE_LEFT_OUT && rq->start_time_ns <= entry->generation;
}

static __always_inline void keep_left_out(struct inflight_request *entry, struct inflight_request *state)
{
	if (!entry && (config.samples || by_owner()) && state->phase == PHASE_LEFT_OUT)
		make_entry(state);
}

/* Returns whether `state` is of this use of the request and not left over from an earlier one. */
static __always_inline bool same_use(struct inflight_request *state, struct request *rq, bool inserting)
{
	__u64 generation = rq->start_time_ns;

	if (state->phase == PHASE_OVER)
		return false;
	if (state->generation != generation)
		return took_older_start(state, generation);
	/* The start time is set only if the queue keeps statistics: without it, a second issue needs a requeue in between. */
	return generation || state->phase == PHASE_REQUEUED || (!inserting && !state->issue_ns);
}

/*
 * Ends the previous use of a request that is reused: it has ended, but its completion was not seen. A program that was
 * active on this CPU is not run again by an interrupt, and a kernel may have reasons of its own
 * (docs/explanation/architecture.md). Its bytes are known since the issue; its end time is not.
 */
static __always_inline void end_unseen(struct inflight_request *state)
{
	struct account *account = account_of(CLASS_BLOCK);

	if (state->phase != PHASE_OVER && state->issue_ns) {
		/* Its sector was lost when it was returned. */
		if (state->phase == PHASE_REQUEUED && !state->bytes_done)
			state->bio_or_sector = MISSING;
		if (state->bytes_done < state->bytes)
			state->bytes_done = state->bytes;
		if (account)
			account->unseen_ends++;
		emit_request(state, 0, 0);
	}
	state->phase = PHASE_OVER;
}

/* Returns whether `entry` is of the use of the request that goes on here. Ends an earlier use. */
static __always_inline bool continues_use(struct inflight_request *entry, struct request *rq, bool inserting)
{
	if (!entry)
		return false;
	if (same_use(entry, rq, inserting)) {
		entry->generation = rq->start_time_ns;
		return true;
	}
	end_unseen(entry);
	return false;
}

/* Key: 0. Scratch space for the row of a flush with an unseen end: it does not fit on the stack on older kernels. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct inflight_request);
} unseen_flush SEC(".maps");

/*
 * Ends a flush without data that was not seen to end. Such a flush is never issued: it is first seen at its end, which
 * takes the data of its bio. If that data is still stored at the address of a bio that begins, the flush has ended
 * unseen. A global function, with arguments like those of add_part().
 */
__noinline int end_unseen_flush(__u64 bio)
{
	__u32 zero = 0;
	struct inflight_request *state = bpf_map_lookup_elem(&unseen_flush, &zero);
	struct queued_bio *slot = slot_of(bio);
	struct account *account;

	/* The end of a flush that was queued before the recording window could not be seen. */
	if (!state || !slot || !makes_rows() || slot->queue_ns < opened_ns)
		return 0;
	__builtin_memset(state, 0, sizeof(*state));
	state->request = bio;
	state->queue_ns = slot->queue_ns;
	copy_provenance(&state->from, &slot->from);
	if (slot->check != check_of(bio, state->queue_ns, &state->from))
		return 0;
	slot->bio = 0;
	state->op = OP_FLUSH;
	state->flags = REQUEST_PREFLUSH;
	state->bios = 1;
	state->own = is_own(state);
	account = account_of(CLASS_BLOCK);
	if (account)
		account->unseen_ends++;
	emit_request(state, 0, 0);
	return 0;
}

/* Returns whether a flush without data is stored at the address of a bio. */
static __always_inline bool waits_for_flush(__u64 bio)
{
	struct queued_bio *slot = slot_of(bio);

	return slot && slot->from.origin.io_class == IO_FLUSH && slot->queue_ns;
}

#endif
