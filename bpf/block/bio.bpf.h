/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bio-based devices, which pass bios on and create no requests: dm, md, zram, bcache, the heads of multipath. Their
 * bios are recorded, from Q to the end of the bio (block_bio_complete). The kernel reports that end only for bios that
 * were not part of a request.
 */
#ifndef IOSTRATA_BIO_H
#define IOSTRATA_BIO_H

enum { MAX_BIOS_UNDER_WAY = 65536 };

/*
 * Key: number_of() the bio; value: the bio in flight in such a device, as a request of one bio that is never inserted
 * or issued. Written at Q, deleted at the end of the bio. A hash table, because there may be many bios that stay long,
 * and none may evict another one. Full: the bio is counted as lost (`inflight_full`).
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_BIOS_UNDER_WAY);
	__uint(map_flags, 1); /* BPF_F_NO_PREALLOC: most machines have none */
	__type(key, __u64);
	__type(value, struct inflight_request);
} bios SEC(".maps");

enum bio_builder { BUILDER_QUEUED, BUILDER_REMAPPED, BUILDER_COUNT };

/* Key: enum bio_builder. Scratch space for an entry, which is too large for a program's stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BUILDER_COUNT);
	__type(key, __u32);
	__type(value, struct inflight_request);
} next_bio SEC(".maps");

/* Begins a bio with a known origin. */
static __always_inline void begin_bio(struct bio *bio, __u64 queue_ns, struct provenance *from)
{
	__u32 builder = BUILDER_QUEUED, bytes = bio->bi_iter.bi_size;
	struct inflight_request *state = bpf_map_lookup_elem(&next_bio, &builder);
	struct account *account;
	__u64 number = number_of(bio);

	if (!state)
		return;
	__builtin_memset(state, 0, offsetof(struct inflight_request, from));
	state->request = number;
	state->queue_ns = queue_ns;
	state->bio_or_sector = bio->bi_iter.bi_sector;
	state->bytes = state->bytes_done = bytes;
	state->flags = flags_of(bio->bi_opf);
	state->bios = 1;
	state->op = op_of(bio->bi_opf & REQ_OP_MASK, bytes);
	copy_provenance(&state->from, from);
	state->own = is_own(state);
	if (!bpf_map_update_elem(&bios, &number, state, BPF_ANY))
		return;
	account = account_of(CLASS_BLOCK);
	if (account && !state->own && makes_rows()) {
		account->seen++;
		account->inflight_full++;
		add_io(&account->lost_io, state->op, bytes);
	}
}

/*
 * Ends an entry at the address of a bio that begins: its end was not seen, or the kernel does not report it. A global
 * function, with arguments like those of add_part().
 */
__noinline int end_unseen_bio(__u64 number)
{
	struct inflight_request *state = bpf_map_lookup_elem(&bios, &number);
	struct account *account = account_of(CLASS_BLOCK);

	if (!state)
		return 0;
	if (makes_rows()) {
		if (account)
			account->unseen_ends++;
		emit_request(state, 0, 0);
	}
	bpf_map_delete_elem(&bios, &number);
	return 0;
}

/*
 * Returns the negative errno of a block layer status (`blk_errors` in block/blk-core.c); statuses that were added
 * lately are I/O errors here.
 */
static __always_inline __s32 error_of(__u8 status)
{
	switch (status) {
	case 0:
		return 0;
	case 1: /* BLK_STS_NOTSUPP */
		return -95;
	case 2: /* BLK_STS_TIMEOUT */
		return -110;
	case 3: /* BLK_STS_NOSPC */
		return -28;
	case 4: /* BLK_STS_TRANSPORT */
		return -67;
	case 5: /* BLK_STS_TARGET */
		return -121;
	case 7: /* BLK_STS_MEDIUM */
		return -61;
	case 8: /* BLK_STS_PROTECTION */
		return -84;
	case 9: /* BLK_STS_RESOURCE */
		return -12;
	case 12: /* BLK_STS_AGAIN */
		return -11;
	}
	return -5;
}

/* Handles the end of a bio that was not part of a request. */
static __always_inline int bio_completed(struct bio *bio)
{
	__u64 number = number_of(bio);
	struct inflight_request *state = hands_bios_on ? bpf_map_lookup_elem(&bios, &number) : 0;

	/* On a request-based device: it failed before there was a request. */
	if (!state) {
		forget_queued(number);
		return 0;
	}
	if (makes_rows())
		emit_request(state, error_of(bio->bi_status), bpf_ktime_get_ns());
	bpf_map_delete_elem(&bios, &number);
	return 0;
}

/*
 * Handles a bio that goes on to another disk as it is, without being queued again: multipath heads, md without I/O
 * counters. Its end is that of the request below, so it is unknown for the disk above. A bio is mapped from a partition
 * before it is queued, and a partition is on the same disk.
 */
static __always_inline int bio_remapped(struct bio *bio)
{
	struct gendisk *disk = disk_of_bio(bio);
	__u64 number = number_of(bio), queue_ns;
	struct inflight_request *state;
	__u32 dev = dev_of_disk(disk), builder = BUILDER_REMAPPED;

	state = hands_bios_on ? bpf_map_lookup_elem(&bios, &number) : 0;
	if (!state || state->from.origin.dev == dev)
		return 0;
	queue_ns = bpf_ktime_get_ns();
	if (device_wanted(dev) && makes_requests(disk)) {
		struct inflight_request *below = bpf_map_lookup_elem(&next_bio, &builder);

		if (below) {
			copy_provenance(&below->from, &state->from);
			below->from.origin.dev = dev;
			below->from.origin.others = 0;
			put_queued(number, queue_ns, &below->from);
		}
	}
	end_unseen_bio(number);
	return 0;
}

#endif
