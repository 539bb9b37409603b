/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device layer: every request from the queueing of its first bio (Q) over insertion (I) and issue (D) to completion
 * (C). A request is known by its `struct request *`. Who queued it is known at Q only: insertion, issue and completion
 * may run in kblockd or in an interrupt, so what Q saw waits in `queued` until the bio's request turns up.
 */
#ifndef IOSTRATA_REQUEST_H
#define IOSTRATA_REQUEST_H

enum { QUEUED_BUCKETS = 8192, QUEUED_WAYS = 2 };

/* What was seen when a bio was queued. */
struct queued_bio {
	__u64 bio; /* 0: free */
	__u64 check;
	__u64 queue_ns;
	struct provenance from;
	/* Up to whole cache lines. */
	__u64 reserved[2];
};

struct queued_bucket {
	struct queued_bio way[QUEUED_WAYS];
};

/*
 * Key: a hash of the bio's address. An array and no hash map, because every bio writes here and few stay longer than it
 * takes to make a request of them: 2 MiB, no allocation, two cache lines a bio. Two CPUs may write one slot at once;
 * `check` tells when they did. A bio that lost its slot is recorded without an identity and counted.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, QUEUED_BUCKETS);
	__uint(map_flags, 1 << 10); /* BPF_F_MMAPABLE: begins with a page, so buckets begin with a cache line */
	__type(key, __u32);
	__type(value, struct queued_bucket);
} queued SEC(".maps");

enum phase {
	PHASE_UNDER_WAY,
	/* The driver handed it back. */
	PHASE_REQUEUED,
	/* The entry waits for its next use. */
	PHASE_OVER,
	/* It began in a moment that is not recorded (sampling.bpf.h), or an owner filter leaves it out. */
	PHASE_LEFT_OUT,
	/* Of a request that was met: its first bio is one that an owner filter leaves out. */
	PHASE_FILTERED,
};

/*
 * A request between its insertion or issue and its completion. It goes back and forth between the CPUs that issue and
 * complete; all but the submitter is two cache lines.
 */
struct inflight_request {
	/* number_of() the request; 0: a place that nobody has taken. */
	__u64 request;
	__u64 generation;
	__u64 queue_ns;
	__u64 insert_ns;
	__u64 issue_ns;
	/*
	 * Before it is issued or issued again: the bio that `from` is of, 0 for none. Others may come before it and after it. From then on its
	 * sector, as it was when it was issued.
	 */
	__u64 bio_or_sector;
	/* As the request was when it was issued. */
	__u32 bytes;
	__u32 bytes_done;
	/* enum request_flag */
	__u16 flags;
	__u16 bios;
	/* enum op, as it is of all its bytes */
	__u8 op;
	__u8 requeues;
	__u8 own;
	/* enum phase */
	__u8 phase;
	struct provenance from;
};

enum { REQUEST_BUCKETS = 8192, REQUEST_WAYS = 2 };

struct request_bucket {
	struct request_place {
		struct inflight_request state;
		/* Up to whole cache lines. */
		__u64 reserved[5];
	} way[REQUEST_WAYS];
};

/*
 * Key: a hash of the request's address. Requests are few, as many as the devices have tags, and are used again and again:
 * so each keeps a place of its own for good, and neither finding it nor a new use costs a hash table's work.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, REQUEST_BUCKETS);
	__uint(map_flags, 1 << 10); /* BPF_F_MMAPABLE, as above */
	__type(key, __u32);
	__type(value, struct request_bucket);
} requests SEC(".maps");

/* Key: bucket and way of a place in `requests` that is taken. Two CPUs may want one place: BPF_NOEXIST lets one have it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, REQUEST_BUCKETS * REQUEST_WAYS);
	__uint(map_flags, 1); /* BPF_F_NO_PREALLOC: as many as there are requests, and made once */
	__type(key, __u32);
	__type(value, __u64);
} places SEC(".maps");

/*
 * Key: number_of() the request. Those that found no place in `requests`. LRU, because devices go and their requests stay.
 * An entry that cannot be made: the request is recorded without its start.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct inflight_request);
} crowded SEC(".maps");

/* Key: kernel device number of the disk. The recorder's own requests, left out of the tables. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct own_io);
} own_io SEC(".maps");

/* Part of a flush sequence that has not ended (block/blk-flush.c). */
static __always_inline bool in_flush_sequence(struct request *rq)
{
	return rq->rq_flags >> config.rqf_flush_seq_bit & 1;
}

/* Whether the kernel's I/O counters have this request. */
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

/* The slot to write `bio` to: its own, a free one, or the one that has waited longest. */
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

/* Of a bio that was queued in a moment that is not recorded no more is kept than that. */
static __always_inline void mark_left_out(__u64 bio)
{
	struct queued_bio *slot = slot_for(bio);

	if (!slot)
		return;
	slot->bio = bio;
	slot->queue_ns = 0;
	slot->check = bio;
}

/* A bio that an owner filter leaves out. The mark stays until its request is issued, because bios of others may be merged with it. */
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

/* Moves what is known of a bio into `rq` and frees its slot; false when nothing reliable is known, and where it is known that it is left out. */
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
	/* Of the copy, because another CPU may have written the slot meanwhile. */
	if (check == check_of(bio, rq->queue_ns, &rq->from))
		return true;
	rq->queue_ns = 0;
	__builtin_memset(&rq->from.origin, 0, sizeof(rq->from.origin));
	return false;
}

/* `from` is no part of a slot: the check is of what was meant, not of what two CPUs may have written together. */
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

/* The bio is not followed: what an earlier one at its address left behind is not its own. */
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

/* Adds what is known of a bio to the parts of its request, and gives its slot back. Of linkage and arguments as add_part(). */
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

/* forget_queued() for loops. Of linkage and arguments as add_part(). */
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

/* The entry of a request; NULL where it has none. No two CPUs handle one request at once. */
static __always_inline struct inflight_request *entry_of(__u64 request)
{
	__u32 key = hash_of(request, REQUEST_BUCKETS);
	struct request_bucket *bucket = bpf_map_lookup_elem(&requests, &key);

	if (!bucket)
		return 0;
	if (bucket->way[0].state.request == request)
		return &bucket->way[0].state;
	if (bucket->way[1].state.request == request)
		return &bucket->way[1].state;
	/* It cannot have been crowded out of a bucket that has room. */
	return bucket->way[1].state.request ? bpf_map_lookup_elem(&crowded, &request) : 0;
}

static __always_inline bool take_place(struct inflight_request *place, __u32 key, struct inflight_request *state)
{
	__u64 request = state->request;

	if (place->request || bpf_map_update_elem(&places, &key, &request, BPF_NOEXIST))
		return false;
	*place = *state;
	return true;
}

/* Makes the first entry of a request; an error where there is no room: then its completion is recorded without a start. */
static __always_inline long make_entry(struct inflight_request *state)
{
	__u32 key = hash_of(state->request, REQUEST_BUCKETS);
	struct request_bucket *bucket = bpf_map_lookup_elem(&requests, &key);
	__u64 request = state->request;

	if (!bucket)
		return -1;
	if (take_place(&bucket->way[0].state, key * REQUEST_WAYS, state) ||
	    take_place(&bucket->way[1].state, key * REQUEST_WAYS + 1, state))
		return 0;
	return bpf_map_update_elem(&crowded, &request, state, BPF_ANY);
}

#endif
