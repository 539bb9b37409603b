/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests whose latency has begun. */
#ifndef IOSTRATA_BEGUN_H
#define IOSTRATA_BEGUN_H

#include "core/number.bpf.h"

enum { BEGUN_BUCKETS = 8192, BEGUN_WAYS = 2 };

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

struct begun_bucket {
	struct begun way[BEGUN_WAYS];
};

/*
 * Key: a hash of the request's address. The kernel allocates requests when a queue is created, and an address identifies
 * one of them until its completion. They are few, as many as the devices have tags, and are reused: so each keeps its own
 * slot permanently, and no latency costs a hash table operation. Bucket full: the request is stored in `begun_crowded`.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BEGUN_BUCKETS);
	__uint(map_flags, 1 << 10); /* BPF_F_MMAPABLE: page-aligned, so buckets are cache lines */
	__type(key, __u32);
	__type(value, struct begun_bucket);
} begun_requests SEC(".maps");

/*
 * Key: bucket and way of a slot that is in use; value: the request. Two CPUs may want one slot: BPF_NOEXIST gives it to
 * one of them. Never full: it has room for every slot.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BEGUN_BUCKETS * BEGUN_WAYS);
	__uint(map_flags, 1); /* BPF_F_NO_PREALLOC: as many as there are requests, and created once */
	__type(key, __u32);
	__type(value, __u64);
} begun_places SEC(".maps");

/*
 * Key: number_of() the request; value: a request that found no slot. LRU, because devices disappear and their requests
 * stay. A request that was evicted completes as one whose begin was not seen.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct begun);
} begun_crowded SEC(".maps");

static __always_inline __u64 number_of(struct request *rq)
{
	return distance_of(rq, &selects_disks);
}

/* Returns the slot of a request; NULL if it has none. No two CPUs handle one request at once. */
static __always_inline struct begun *slot_of(__u64 request)
{
	__u32 key = hash_of(request, BEGUN_BUCKETS);
	struct begun_bucket *bucket = bpf_map_lookup_elem(&begun_requests, &key);

	if (!bucket)
		return 0;
	if (bucket->way[0].request == request)
		return &bucket->way[0];
	if (bucket->way[1].request == request)
		return &bucket->way[1];
	/* A bucket with a free way has no overflow entries. */
	return bucket->way[1].request ? bpf_map_lookup_elem(&begun_crowded, &request) : 0;
}

static __always_inline bool take_place(struct begun *place, __u32 key, __u64 request)
{
	if (place->request || bpf_map_update_elem(&begun_places, &key, &request, BPF_NOEXIST))
		return false;
	place->request = request;
	return true;
}

/* Returns a new slot for a request; NULL if there is none. */
static __always_inline struct begun *new_slot(__u64 request)
{
	struct begun fresh = { .request = request };
	__u32 key = hash_of(request, BEGUN_BUCKETS);
	struct begun_bucket *bucket = bpf_map_lookup_elem(&begun_requests, &key);

	if (!bucket)
		return 0;
	if (take_place(&bucket->way[0], key * BEGUN_WAYS, request))
		return &bucket->way[0];
	if (take_place(&bucket->way[1], key * BEGUN_WAYS + 1, request))
		return &bucket->way[1];
	if (bpf_map_update_elem(&begun_crowded, &request, &fresh, BPF_ANY))
		return 0;
	return bpf_map_lookup_elem(&begun_crowded, &request);
}

#endif
