/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block layer: every request from the queueing of its first bio (Q) over insertion (I) and issue (D) to completion (C).
 * A request is identified by its `struct request *`. The submitter is known at Q only: insertion, issue and completion
 * may run in kblockd or in an interrupt, so the data from Q stays in `queued` until the bio's request appears.
 */
#ifndef IOSTRATA_REQUEST_H
#define IOSTRATA_REQUEST_H

#include "core/slots.bpf.h"

enum { QUEUED_BUCKETS = 8192, QUEUED_WAYS = 2 };

/* Data of a bio, from when it was queued. */
struct queued_bio {
	__u64 bio; /* 0: free */
	__u64 check;
	__u64 queue_ns;
	struct provenance from;
	/* Padding to whole cache lines. */
	__u64 reserved[2];
};

struct queued_bucket {
	struct queued_bio way[QUEUED_WAYS];
};

/*
 * Key: a hash of the bio's address. Written at Q. An array and not a hash map, because every bio writes here and few
 * stay longer than it takes to create their request: 2 MiB, no allocation, two cache lines per bio. Two CPUs may write
 * one slot at once; `check` detects that. Bucket full: the older bio loses its slot. A bio that lost its slot is
 * recorded without an identity, and counted.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, QUEUED_BUCKETS);
	__uint(map_flags, 1 << 10); /* BPF_F_MMAPABLE: page-aligned, so buckets begin with a cache line */
	__type(key, __u32);
	__type(value, struct queued_bucket);
} queued SEC(".maps");

/* Phase of a use of a request. */
enum phase {
	PHASE_UNDER_WAY,
	/* The driver returned it. */
	PHASE_REQUEUED,
	/* The entry waits for its next use. */
	PHASE_OVER,
	/* It began in a time slice that is not recorded (sampling.bpf.h), or an owner filter excludes it. */
	PHASE_LEFT_OUT,
	/* A request just seen: its first bio is one that an owner filter excludes. */
	PHASE_FILTERED,
};

/*
 * Request between its insertion or issue and its completion. It moves back and forth between the CPUs that issue and
 * complete; all but the submitter is two cache lines.
 */
struct inflight_request {
	/* number_of() the request; 0: a free slot. */
	__u64 request;
	__u64 generation;
	__u64 queue_ns;
	__u64 insert_ns;
	__u64 issue_ns;
	/*
	 * Before the issue, or before it is issued again: the bio that `from` describes, 0 for none. Other bios may
	 * come before it and after it. From then on its sector, as of the issue.
	 */
	__u64 bio_or_sector;
	/* As of the issue. */
	__u32 bytes;
	__u32 bytes_done;
	/* enum request_flag */
	__u16 flags;
	__u16 bios;
	/* enum op, for all its bytes */
	__u8 op;
	__u8 requeues;
	__u8 own;
	/* enum phase */
	__u8 phase;
	struct provenance from;
};

enum { REQUEST_BUCKETS = 8192 };

struct request_bucket {
	struct request_place {
		struct inflight_request state;
		/* Padding to whole cache lines. */
		__u64 reserved[5];
	} way[SLOT_WAYS];
};

/* Key: a hash of the request's address. Written at I, D and C. Bucket full: the request is stored in `crowded`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, REQUEST_BUCKETS);
	__uint(map_flags, 1 << 10); /* BPF_F_MMAPABLE, as above */
	__type(key, __u32);
	__type(value, struct request_bucket);
} requests SEC(".maps");

/*
 * Key: bucket and way of a slot in `requests` that is in use; value: the request. Written by make_entry(). Never full: it
 * has room for every slot.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, REQUEST_BUCKETS * SLOT_WAYS);
	__uint(map_flags, 1); /* BPF_F_NO_PREALLOC: as many as there are requests, and created once */
	__type(key, __u32);
	__type(value, __u64);
} places SEC(".maps");

/*
 * Key: number_of() the request; value: a request that found no slot in `requests`. Written by make_entry(). LRU,
 * because devices disappear and their requests stay. If an entry cannot be created, the request is recorded without its
 * start.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct inflight_request);
} crowded SEC(".maps");

/*
 * Key: kernel device number of the disk; value: the recorder's own requests, which are excluded from the tables.
 * Written by count_own(). Full: the check against the kernel's device counters fails for further disks.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct own_io);
} own_io SEC(".maps");

/* Returns whether a request is part of a flush sequence that has not ended (block/blk-flush.c). */
static __always_inline bool in_flush_sequence(struct request *rq)
{
	return rq->rq_flags >> config.rqf_flush_seq_bit & 1;
}

/* Returns whether the kernel's I/O counters include this request. */
static __always_inline bool is_counted(struct request *rq)
{
	return rq->rq_flags >> config.rqf_io_stat_bit & 1;
}

static __always_inline void copy_provenance(struct provenance *to, struct provenance *from)
{
	to->origin = from->origin;
	if (from->origin.has_submitter)
		to->submitter = from->submitter;
}

static __always_inline __u64 check_of(__u64 bio, __u64 queue_ns, struct provenance *from)
{
	__u64 sum = bio ^ queue_ns << 7 ^ checksum((__u64 *)&from->origin, sizeof(from->origin));

	return from->origin.has_submitter ? sum ^ checksum((__u64 *)&from->submitter, sizeof(from->submitter)) << 3 : sum;
}

static __always_inline struct queued_bucket *bucket_of(__u64 bio)
{
	__u32 key = hash_of(bio, QUEUED_BUCKETS);

	return bpf_map_lookup_elem(&queued, &key);
}

/* Returns the slot to write `bio` to: its own, a free one, or the oldest. */
static __always_inline struct queued_bio *slot_for(__u64 bio)
{
	struct queued_bucket *bucket = bucket_of(bio);

	if (!bucket)
		return 0;
	if (bucket->way[0].bio == bio || !bucket->way[0].bio)
		return &bucket->way[0];
	if (bucket->way[1].bio == bio || !bucket->way[1].bio)
		return &bucket->way[1];
	return bucket->way[0].queue_ns < bucket->way[1].queue_ns ? &bucket->way[0] : &bucket->way[1];
}

static __always_inline struct queued_bio *slot_of(__u64 bio)
{
	struct queued_bucket *bucket = bucket_of(bio);

	if (!bucket)
		return 0;
	if (bucket->way[0].bio == bio)
		return &bucket->way[0];
	if (bucket->way[1].bio == bio)
		return &bucket->way[1];
	return 0;
}

/* Marks a bio that was queued in a time slice that is not recorded. Only the mark is stored. */
static __always_inline void mark_left_out(__u64 bio)
{
	struct queued_bio *slot = slot_for(bio);

	if (!slot)
		return;
	slot->bio = bio;
	slot->queue_ns = 0;
	slot->check = bio;
}

/*
 * Marks a bio that an owner filter excludes. The mark stays until its request is issued, because bios of other owners
 * may be merged with it.
 */
static __always_inline void mark_filtered(__u64 bio)
{
	struct queued_bio *slot = slot_for(bio);

	if (!slot)
		return;
	slot->bio = bio;
	slot->queue_ns = 0;
	slot->check = ~bio;
}

static __always_inline bool is_marked_filtered(struct queued_bio *slot)
{
	return by_owner() && !slot->queue_ns && slot->check == ~slot->bio;
}

static __always_inline bool is_marked_left_out(struct queued_bio *slot)
{
	return config.samples && !slot->queue_ns && slot->check == slot->bio;
}

/*
 * Moves the data of a bio into `rq` and frees its slot; false if there is no reliable data, or if the bio is marked as
 * excluded.
 */
static __always_inline bool take_queued(__u64 bio, struct inflight_request *rq)
{
	struct queued_bio *slot = slot_of(bio);
	__u64 check;

	if (!slot)
		return false;
	if (is_marked_left_out(slot)) {
		slot->bio = 0;
		rq->phase = PHASE_LEFT_OUT;
		return false;
	}
	if (is_marked_filtered(slot)) {
		rq->phase = PHASE_FILTERED;
		return false;
	}
	rq->queue_ns = slot->queue_ns;
	copy_provenance(&rq->from, &slot->from);
	check = slot->check;
	slot->bio = 0;
	/* The check is of the copy, because another CPU may have written the slot meanwhile. */
	if (check == check_of(bio, rq->queue_ns, &rq->from))
		return true;
	rq->queue_ns = 0;
	__builtin_memset(&rq->from.origin, 0, sizeof(rq->from.origin));
	return false;
}

/* `from` is not part of a slot: the check is of the intended data, not of what two CPUs may have written together. */
static __always_inline void fill_slot(struct queued_bio *slot, __u64 bio, __u64 queue_ns, struct provenance *from)
{
	slot->bio = bio;
	slot->queue_ns = queue_ns;
	copy_provenance(&slot->from, from);
	slot->check = check_of(bio, queue_ns, from);
}

static __always_inline void put_queued(__u64 bio, __u64 queue_ns, struct provenance *from)
{
	struct queued_bio *slot = slot_for(bio);

	if (slot)
		fill_slot(slot, bio, queue_ns, from);
}

/* The bio is not tracked: an entry of an earlier bio at its address is not its own. */
static __always_inline void forget_queued(__u64 bio)
{
	struct queued_bio *slot = slot_of(bio);

	if (slot)
		slot->bio = 0;
}

static __always_inline void fill_part(struct part *part, struct provenance *from)
{
	part->who = from->origin.who;
	part->start_ns = from->origin.start_ns;
	part->ino = from->origin.ino;
	part->file_dev = from->origin.file_dev;
	part->bytes = from->origin.owned_bytes;
	part->evidence = from->origin.evidence;
	part->io_class = from->origin.io_class;
}

/*
 * Adds the data of a bio to the parts of its request, and frees its slot. A global function, with arguments like those
 * of add_part().
 */
__noinline int gather_bio(__u64 bio, __u32 gatherer)
{
	struct gathering *gathering = gathering_of(gatherer);
	struct queued_bio *slot = slot_of(bio);
	struct part_list *list;

	if (!gathering || !slot)
		return 0;
	if (slot->check == check_of(bio, slot->queue_ns, &slot->from)) {
		fill_part(&gathering->next, &slot->from);
		add_part(gatherer);
		list = parts_of(bio, slot->queue_ns, &slot->from.origin);
		for (__u32 i = 1; i < MAX_PARTS; i++) {
			if (!list || i >= list->count)
				break;
			gathering->next = list->part[i];
			add_part(gatherer);
		}
	}
	slot->bio = 0;
	return 0;
}

/* forget_queued() for loops. A global function, with arguments like those of add_part(). */
__noinline int forget_bio(__u64 bio)
{
	forget_queued(bio);
	return 0;
}

__noinline int is_queued(__u64 bio)
{
	struct queued_bio *slot = slot_of(bio);

	return slot && !is_marked_filtered(slot);
}

/* Returns the entry of a request; NULL if it has none. */
static __always_inline struct inflight_request *entry_of(__u64 request)
{
	return slot_in(&requests, &crowded, REQUEST_BUCKETS, sizeof(struct request_place), request);
}

/*
 * Creates the first entry of a request. Returns an error if there is no space: then its completion is recorded without
 * a start.
 */
static __always_inline long make_entry(struct inflight_request *state)
{
	__u64 request = state->request;
	struct inflight_request *place;

	place = new_slot_in(&requests, &places, REQUEST_BUCKETS, sizeof(struct request_place), request);
	if (!place)
		return bpf_map_update_elem(&crowded, &request, state, BPF_ANY);
	*place = *state;
	return 0;
}

#endif
