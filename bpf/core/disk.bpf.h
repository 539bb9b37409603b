/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks: the disk of a bio or request, and whether it is request-based or bio-based. Without maps: for any object. */
#ifndef IOSTRATA_DISK_H
#define IOSTRATA_DISK_H

#include "core/typed.bpf.h"

/*
 * Arguments of tp_btf programs are typed, so they and what they point to are read with direct loads, which the kernel
 * makes safe. Each costs a tenth of a bpf_probe_read_kernel().
 */
static __always_inline __u32 dev_of_disk(struct gendisk *disk)
{
	return (__u32)disk->major << 20 | disk->first_minor;
}

static __always_inline struct gendisk *disk_of_bio(struct bio *bio)
{
	if (bpf_core_field_exists(bio->bi_bdev))
		return HOP(bio)->bi_bdev->bd_disk;
	return ((struct bio___5_11 *)bio)->bi_disk;
}

static __always_inline struct gendisk *disk_of_request(struct request *rq)
{
	if (bpf_core_field_exists(((struct request___5_16 *)rq)->rq_disk))
		return ((struct request___5_16 *)rq)->rq_disk;
	return ((struct request_queue___since_5_15 *)HOP(rq)->q)->disk;
}

static __always_inline bool makes_requests(struct gendisk *disk)
{
	return HOP(disk)->queue->mq_ops;
}

/* Returns the disk that `bdev` is, or is a partition of; 0 if it is request-based. */
static __always_inline __u32 hands_on(struct block_device *bdev)
{
	struct gendisk *disk = BPF_CORE_READ(bdev, bd_disk);

	if (!disk || BPF_CORE_READ(disk, queue, mq_ops))
		return 0;
	return (__u32)BPF_CORE_READ(disk, major) << 20 | BPF_CORE_READ(disk, first_minor);
}

/*
 * Returns whether the writeback of a bio's pages is counted at this device. Pages pass each device of a stack and are
 * counted once: at the topmost device if that is bio-based, otherwise where requests are created. `bdev`: device of the
 * file system.
 */
static __always_inline bool is_counted_at(struct bio *bio, struct block_device *bdev)
{
	__u32 top = bdev ? hands_on(bdev) : 0;

	return top ? top == dev_of_disk(disk_of_bio(bio)) : makes_requests(disk_of_bio(bio));
}

#endif
