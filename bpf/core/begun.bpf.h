/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests that have begun, for objects that aggregate. Before this, the object defines `struct begun`, which begins with the
 * request's number.
 */
#ifndef IOSTRATA_BEGUN_H
#define IOSTRATA_BEGUN_H

#include "core/disk_filter.bpf.h"
#include "core/slots.bpf.h"

/* Time since which each request is seen from its begin. Written by user space. 0: not yet. */
__u64 attached_ns = 0;

enum { BEGUN_BUCKETS = 8192 };

struct begun_bucket {
	struct begun way[SLOT_WAYS];
};

/* Key: a hash of the request's address. Bucket full: the request is stored in `begun_crowded`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BEGUN_BUCKETS);
	__uint(map_flags, 1 << 10); /* BPF_F_MMAPABLE: page-aligned, so buckets are cache lines */
	__type(key, __u32);
	__type(value, struct begun_bucket);
} begun_requests SEC(".maps");

/* Key: bucket and way of a slot that is in use; value: the request. Never full: it has room for every slot. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BEGUN_BUCKETS * SLOT_WAYS);
	__uint(map_flags, 1); /* BPF_F_NO_PREALLOC: as many as there are requests, and created once */
	__type(key, __u32);
	__type(value, __u64);
} begun_places SEC(".maps");

/* Key: number_of() the request; value: a request that found no slot. LRU, because devices disappear and their requests stay. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct begun);
} begun_crowded SEC(".maps");

/* Returns the slot of a request; NULL if it has none. */
static __always_inline struct begun *slot_of(__u64 request)
{
	return slot_in(&begun_requests, &begun_crowded, BEGUN_BUCKETS, sizeof(struct begun), request);
}

/* Returns a new slot for a request; NULL if there is none. */
static __always_inline struct begun *new_slot(__u64 request)
{
	struct begun fresh = { .request = request };
	struct begun *slot = new_slot_in(&begun_requests, &begun_places, BEGUN_BUCKETS, sizeof(struct begun), request);

	if (slot)
		return slot;
	if (bpf_map_update_elem(&begun_crowded, &request, &fresh, BPF_ANY))
		return 0;
	return bpf_map_lookup_elem(&begun_crowded, &request);
}

/*
 * Returns whether a completed request without a begin was not to be seen: without bytes it is the end of a flush sequence,
 * of which only the data and the flush command are issued, and one that is older than the attached programs began before
 * them.
 */
static __always_inline bool was_never_seen(struct request *rq, __u32 bytes)
{
	bool ends_sequence = !bytes && (rq->cmd_flags & REQ_OP_MASK) != REQ_OP_FLUSH;

	return ends_sequence || !attached_ns || rq->start_time_ns < attached_ns;
}

#endif
