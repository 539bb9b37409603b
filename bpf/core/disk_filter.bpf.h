/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Filter by disk, and requests that are counted nowhere. For objects that aggregate. */
#ifndef IOSTRATA_DISK_FILTER_H
#define IOSTRATA_DISK_FILTER_H

#include "core/disk.bpf.h"
#include "core/number.bpf.h"
#include "core/request_loss.h"

/* Whether only the disks in `disks` are counted. */
const volatile __u32 selects_disks = 0;

/* Key: kernel device number of a selected disk. Written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} disks SEC(".maps");

/* Key: 0; value: requests that are counted nowhere. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct request_loss);
} request_losses SEC(".maps");

static __always_inline struct request_loss *loss_of_this_cpu(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&request_losses, &zero);
}

static __always_inline void count_table_full(void)
{
	struct request_loss *loss = loss_of_this_cpu();

	if (loss)
		loss->table_full++;
}

static __always_inline void count_unseen_issue(void)
{
	struct request_loss *loss = loss_of_this_cpu();

	if (loss)
		loss->unseen_issue++;
}

static __always_inline void count_unseen_end(void)
{
	struct request_loss *loss = loss_of_this_cpu();

	if (loss)
		loss->unseen_end++;
}

/* Returns the kernel device number of a counted disk; 0: none, or not selected. */
static __always_inline __u32 counted_disk(struct request *rq)
{
	struct gendisk *disk = disk_of_request(rq);
	__u32 dev = disk ? dev_of_disk(disk) : 0;

	return !selects_disks || bpf_map_lookup_elem(&disks, &dev) ? dev : 0;
}

/* Returns a number for a pointer, to compare and to hash. */
static __always_inline __u64 number_of(const void *pointer)
{
	return distance_of(pointer, &selects_disks);
}

#endif
