/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Slots of requests. The kernel allocates requests when a queue is created, and an address identifies one of them until
 * its completion. They are few, as many as the devices have tags, and are reused: so each keeps its own slot permanently,
 * and neither a lookup nor a new use costs a hash table operation.
 *
 * The tables are an array of buckets of two ways, by a hash of number_of() the request; a hash of the ways in use; and a
 * hash for the requests whose bucket is full, which are few. Each way begins with the request's number; 0: a free slot.
 * Without maps: for any object.
 */
#ifndef IOSTRATA_SLOTS_H
#define IOSTRATA_SLOTS_H

#include "core/number.bpf.h"

enum { SLOT_WAYS = 2 };

/* Returns the slot of a request; NULL if it has none. No two CPUs handle one request at once. */
static __always_inline void *slot_in(void *buckets, void *crowded, __u32 number_of_buckets, __u32 way_bytes, __u64 request)
{
	__u32 key = hash_of(request, number_of_buckets);
	void *way = bpf_map_lookup_elem(buckets, &key);

	if (!way)
		return 0;
	if (*(__u64 *)way == request)
		return way;
	way += way_bytes;
	if (*(__u64 *)way == request)
		return way;
	/* A bucket with a free way has no overflow entries. */
	return *(__u64 *)way ? bpf_map_lookup_elem(crowded, &request) : 0;
}

/* Takes a way for a request. Two CPUs may want one: BPF_NOEXIST gives it to one of them. */
static __always_inline bool claim_way(void *places, void *way, __u32 place, __u64 request)
{
	if (*(__u64 *)way || bpf_map_update_elem(places, &place, &request, BPF_NOEXIST))
		return false;
	*(__u64 *)way = request;
	return true;
}

/* Returns a way for a request without a slot; NULL if its bucket is full. */
static __always_inline void *new_slot_in(void *buckets, void *places, __u32 number_of_buckets, __u32 way_bytes, __u64 request)
{
	__u32 key = hash_of(request, number_of_buckets);
	void *way = bpf_map_lookup_elem(buckets, &key);

	if (!way)
		return 0;
	if (claim_way(places, way, key * SLOT_WAYS, request))
		return way;
	way += way_bytes;
	return claim_way(places, way, key * SLOT_WAYS + 1, request) ? way : 0;
}

#endif
