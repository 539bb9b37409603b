/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Part of the kernel that created a bio. The completion function of a bio identifies it; user space looks the addresses
 * up by name. Without maps: for any object.
 */
#ifndef IOSTRATA_MAKER_H
#define IOSTRATA_MAKER_H

#include "core/page.bpf.h"
#include "core/task.bpf.h"

/* Returns the part of the kernel that created a bio. */
static __always_inline __u8 maker_of(const volatile struct makers *makers, struct bio *bio)
{
	__u64 end = (__u64)bio->bi_end_io;

	for (int i = 0; i < MAX_MAKERS; i++)
		if (makers->known[i].address && makers->known[i].address == end)
			return makers->known[i].maker;
	return MAKER_UNKNOWN;
}

/*
 * Journal blocks and blocks of a device's own page cache go through buffer heads; their completion functions (b_end_io)
 * distinguish them.
 */
static __always_inline bool is_journal_buffer(const volatile struct makers *makers, struct bio *bio)
{
	__u64 end = (__u64)BPF_CORE_READ((struct buffer_head *)bio->bi_private, b_end_io);

	for (int i = 0; i < MAX_JOURNAL_ENDS; i++)
		if (makers->journal_ends[i] && makers->journal_ends[i] == end)
			return true;
	return false;
}

/* Returns whether the bio is swap I/O: the kernel flags what it writes, and the completion function identifies what it reads. */
static __always_inline bool is_swap(__u32 flags, __u8 maker)
{
	return maker == MAKER_SWAP || (bpf_core_enum_value_exists(enum req_flag_bits, __REQ_SWAP) &&
				       (flags >> bpf_core_enum_value(enum req_flag_bits, __REQ_SWAP) & 1));
}

static __always_inline bool is_direct(__u8 maker)
{
	return maker == MAKER_DIRECT || maker == MAKER_DIRECT_IOMAP || maker == MAKER_DIRECT_DIO;
}

static __always_inline __u8 class_of_read(__u32 flags, __u8 maker)
{
	if (is_flagged_metadata(flags))
		return IO_METADATA;
	if (is_swap(flags, maker))
		return IO_SWAP;
	if (flags >> bpf_core_enum_value(enum req_flag_bits, __REQ_RAHEAD) & 1)
		return IO_READAHEAD;
	return IO_DATA;
}

/* Returns the class of what a kernel thread of this name writes, from what the bio itself says. */
static __always_inline __u8 class_by_thread(__u8 io_class, const char *comm)
{
	if (io_class == IO_METADATA && is_journal_thread(comm))
		return IO_JOURNAL;
	/* Zeroes, at the future location of the file system's inodes. */
	if (io_class == IO_DATA && is_initializing_thread(comm))
		return IO_METADATA;
	return io_class;
}

/*
 * Returns whether a bio with an unknown creator is direct I/O (btrfs, by kernel version; bios that dm and md create):
 * memory of a process, shared memory included, submitted by a process. Swapping submits such pages too, in the context
 * of any process; so only if creators are known at all.
 */
static __always_inline bool is_user_memory(const volatile struct makers *makers, struct bio *bio)
{
	struct file_page file = {};
	struct page *page = first_page(bio);

	if (!makers->known[0].address)
		return false;
	return mapping_of(head_of(page)) & PAGE_MAPPING_ANON || (find_file(page, &file) && is_in_memory(magic_of(&file)));
}

#endif
