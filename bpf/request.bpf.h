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
	struct identity who;
};

struct queued_bucket {
	struct queued_bio way[QUEUED_WAYS];
};

/*
 * Key: a hash of the bio's address. An array and no hash map, because every bio writes here and few stay longer than it
 * takes to make a request of them: 1 MiB, no allocation, one cache line a bio. Two CPUs may write one slot at once;
 * `check` tells when they did. A bio that lost its slot is recorded without an identity and counted.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, QUEUED_BUCKETS);
	__type(key, __u32);
	__type(value, struct queued_bucket);
} queued SEC(".maps");

/* A request between its insertion or issue and its completion. */
struct inflight_request {
	__u64 generation;
	__u64 queue_ns;
	__u64 insert_ns;
	__u64 issue_ns;
	struct identity who;
	__u64 bytes_done;
	__s64 sector;
	/* As the request was when it was issued. */
	__u32 cmd_flags;
	__u32 bytes;
	__u32 dev;
	__u16 bios;
	__u16 requeues;
	__u8 own;
	__u8 requeued;
	__u8 counted;
	/* The request is over; the entry waits for its next use. */
	__u8 over;
};

/*
 * Key: address of the request. As many as all devices' tags together: requests are few and reused, so an entry stays for
 * the next use of its request, which saves an insertion and a deletion each time. LRU, for the requests of devices that
 * are gone. An entry that cannot be made: the request is recorded without its start.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, __u64);
	__type(value, struct inflight_request);
} requests SEC(".maps");

/* Key: kernel device number of the disk. The recorder's own requests, left out of the tables. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct own_io);
} own_io SEC(".maps");

/* Key: inodes that the recorder writes; their writeback is its own I/O, whichever worker submits it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct inode_key);
	__type(value, __u32);
} own_inodes SEC(".maps");

/*
 * Arguments of tp_btf programs are typed, so they and what they point to are read with plain loads, which the kernel
 * makes safe; each costs a tenth of a bpf_probe_read_kernel().
 */
static __always_inline __u32 dev_of_disk(struct gendisk *disk)
{
	return (__u32)disk->major << 20 | disk->first_minor;
}

static __always_inline struct gendisk *disk_of_bio(struct bio *bio)
{
	if (bpf_core_field_exists(bio->bi_bdev))
		return bio->bi_bdev->bd_disk;
	return ((struct bio___5_11 *)bio)->bi_disk;
}

static __always_inline struct gendisk *disk_of_request(struct request *rq)
{
	if (bpf_core_field_exists(((struct request___5_16 *)rq)->rq_disk))
		return ((struct request___5_16 *)rq)->rq_disk;
	return ((struct request_queue___since_5_15 *)rq->q)->disk;
}

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

static __always_inline __u64 check_of(struct queued_bio *slot)
{
	__u64 *comm = (__u64 *)slot->who.comm;

	return slot->bio ^ slot->queue_ns << 7 ^ ((__u64)slot->who.pid << 32 | slot->who.tid) ^ slot->who.cgroup_id << 3 ^
	       comm[0] ^ comm[1] << 1;
}

/* The address as a number. The verifier lets nobody calculate with a pointer that it knows the type of. */
static __always_inline __u64 address_of(void *pointer)
{
	__u64 address = 0;

	bpf_probe_read_kernel(&address, sizeof(address), &pointer);
	return address;
}

static __always_inline struct queued_bucket *bucket_of(__u64 bio)
{
	__u32 key = bio * 0x9e3779b97f4a7c15ULL >> 40 & (QUEUED_BUCKETS - 1);

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

	if (!bucket || !bio)
		return 0;
	if (bucket->way[0].bio == bio)
		return &bucket->way[0];
	if (bucket->way[1].bio == bio)
		return &bucket->way[1];
	return 0;
}

/* Moves what is known of a bio into `rq` and frees its slot; false when nothing reliable is known. */
static __always_inline bool take_queued(__u64 bio, struct inflight_request *rq)
{
	struct queued_bio *slot = slot_of(bio);
	struct queued_bio copy;

	if (!slot)
		return false;
	copy = *slot;
	slot->bio = 0;
	if (copy.bio != bio || copy.check != check_of(&copy))
		return false;
	rq->queue_ns = copy.queue_ns;
	rq->who = copy.who;
	return true;
}

static __always_inline void put_queued(__u64 bio, __u64 queue_ns, struct identity *who)
{
	struct queued_bio *slot = slot_for(bio);

	if (!slot)
		return;
	slot->bio = bio;
	slot->queue_ns = queue_ns;
	slot->who = *who;
	slot->check = check_of(slot);
}

#endif
