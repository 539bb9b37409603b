/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests that have begun, with their owners. */
#ifndef IOSTRATA_BEGUN_ACTIVITY_H
#define IOSTRATA_BEGUN_ACTIVITY_H

enum { NEW_BIOS = 4096 };

/* Owner, class and file of a bio. */
struct origin_of {
	struct request_owner owner;
	/* enum owner_kind */
	__u8 kind;
	/* enum io_class */
	__u8 io_class;
	/* The filters by owner select it. */
	__u8 is_selected;
	__u8 reserved[5];
};

struct begun {
	/* number_of() the request; 0: a free slot. */
	__u64 request;
	/* Begin of its latency; 0: none has begun. */
	__u64 begin_ns;
	/* start_time_ns of the request: distinguishes the uses of a request. 0 where the kernel does not take it (queue/iostats). */
	__u64 generation;
	/* Completed so far. */
	__u32 bytes;
	/* 0: queued, and its latency begins with the issue. */
	__u32 is_timed;
	struct origin_of of;
};

#include "core/begun.bpf.h"

/* Bio whose request is not known yet: before block_io_start, only the bio is known where the submitter is. */
struct new_bio {
	/* number_of() the bio; 0: free. */
	__u64 bio;
	/* checksum() of the rest, because another CPU may write another bio here meanwhile. */
	__u64 check;
	struct origin_of of;
};

/* Key: a hash of the bio's address. A bio that lost its place to another has no owner. Only before block_io_start (6.5). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NEW_BIOS);
	__type(key, __u32);
	__type(value, struct new_bio);
} new_bios SEC(".maps");

static __always_inline struct new_bio *new_bio_of(__u64 bio)
{
	__u32 key = hash_of(bio, NEW_BIOS);

	return bpf_map_lookup_elem(&new_bios, &key);
}

static __always_inline void put_new_bio(__u64 bio, struct origin_of *of)
{
	struct new_bio *place = new_bio_of(bio);

	if (!place)
		return;
	place->bio = bio;
	place->of = *of;
	place->check = bio ^ checksum((__u64 *)of, sizeof(*of));
}

/* Moves the origin of a bio to `of`. False if another bio has taken its place. */
static __always_inline bool take_new_bio(__u64 bio, struct origin_of *of)
{
	struct new_bio *place = new_bio_of(bio);
	__u64 check;

	if (!place || place->bio != bio)
		return false;
	check = place->check;
	*of = place->of;
	place->bio = 0;
	return check == (bio ^ checksum((__u64 *)of, sizeof(*of)));
}

#endif
