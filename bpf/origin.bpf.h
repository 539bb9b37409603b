/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a bio comes from: its class, whose it is and how that is known. The function that a bio calls at its end tells which
 * part of the kernel made it; user space looks the addresses up by name. Its first page tells the file.
 */
#ifndef IOSTRATA_ORIGIN_H
#define IOSTRATA_ORIGIN_H

#include "owner.bpf.h"

/*
 * Kernels before 5.17 have no bpf_loop(), and refuse a program in which it as much as occurs: what needs it has a `has_loop`,
 * and there are two programs of each. Without it the verifier goes through every turn.
 */
enum { PAGE_BYTES = 4096, MAX_PAGES = 4096, MAX_PAGES_UNTIL_5_16 = 64 };

/* All that is known of where a bio comes from. */
struct provenance {
	struct origin origin;
	/* Of value where the origin says so. */
	struct via via;
};

/* Which part of the kernel made a bio. */
static __always_inline __u8 maker_of(struct bio *bio)
{
	__u64 end = (__u64)bio->bi_end_io;

	for (int i = 0; i < MAX_MAKERS; i++)
		if (config.makers[i].address && config.makers[i].address == end)
			return config.makers[i].maker;
	return MAKER_UNKNOWN;
}

/* Journal blocks and the blocks of a device's own page cache go through buffer heads; what these call tells them apart. */
static __always_inline bool is_journal_buffer(struct bio *bio)
{
	__u64 end = (__u64)BPF_CORE_READ((struct buffer_head *)bio->bi_private, b_end_io);

	for (int i = 0; i < MAX_JOURNAL_ENDS; i++)
		if (config.journal_ends[i] && config.journal_ends[i] == end)
			return true;
	return false;
}

/* Whether a file system is mounted on the block device that this inode is. */
static __always_inline bool is_mounted(struct inode *inode)
{
	struct bdev_inode *container = (void *)inode - bpf_core_field_offset(struct bdev_inode, vfs_inode);
	struct block_device *bdev = &container->bdev;
	struct super_block *super;

	if (bpf_core_field_exists(((struct block_device___6_5 *)bdev)->bd_super))
		return BPF_CORE_READ((struct block_device___6_5 *)bdev, bd_super);
	/* Since 6.6 the holder of a mounted device is the super block, which names the device in turn. */
	super = BPF_CORE_READ(bdev, bd_holder);
	return super && BPF_CORE_READ(super, s_bdev) == bdev;
}

/* Pages of a mounted device, and of the inode that btrfs keeps its trees in. */
static __always_inline bool is_metadata(struct file_page *file)
{
	/* A copy: BPF_CORE_READ would take ours for a kernel type. */
	struct inode *inode = file->inode;

	if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) == S_IFBLK)
		return is_mounted(inode);
	return file->key.inode.ino == BTRFS_BTREE_INODE && BPF_CORE_READ(inode, i_sb, s_magic) == BTRFS_SUPER_MAGIC;
}

/* Puts down whose data a page of a file is; false where it is no data but metadata. */
static __always_inline bool name_file(struct file_page *file, struct provenance *from)
{
	if (is_metadata(file)) {
		from->origin.io_class = IO_METADATA;
		return false;
	}
	from->origin.has_via = 1;
	from->via.file_dev = file->key.inode.dev;
	from->via.ino = file->key.inode.ino;
	return true;
}

static __always_inline struct bio_vec *first_vector(struct bio *bio)
{
	__u64 vectors = (__u64)BPF_CORE_READ(bio, bi_io_vec);

	return (struct bio_vec *)(vectors + BPF_CORE_READ(bio, bi_iter.bi_idx) * bpf_core_type_size(struct bio_vec));
}

/* A walk over the pages of a bio. */
struct page_walk {
	struct bio_vec *vector;
	/* The page to look at, and what is left of its vector and of the bio. */
	__u64 page;
	__u32 vector_left;
	__u32 left;
	/* Whose pages are counted. */
	__u32 pid;
	__u32 owned;
	__u64 start_ns;
};

/* One page; 1 at the end of the bio. */
static long walk_page(__u32 index, struct page_walk *walk)
{
	struct file_page file = {};
	__u32 take = PAGE_BYTES;
	struct owner *owner;
	__u8 evidence;

	if (!walk->vector_left) {
		struct bio_vec *vector = walk->vector;

		walk->page = (__u64)BPF_CORE_READ(vector, bv_page);
		walk->vector_left = BPF_CORE_READ(vector, bv_len);
		walk->vector = (void *)vector + bpf_core_type_size(struct bio_vec);
	}
	if (take > walk->vector_left)
		take = walk->vector_left;
	if (take > walk->left)
		take = walk->left;
	if (!take)
		return 1;
	if (find_file((struct page *)walk->page, &file)) {
		owner = find_owner(&file, &evidence);
		if (owner && is_process(owner, walk->pid, walk->start_ns))
			walk->owned += take;
	}
	walk->page += bpf_core_type_size(struct page);
	walk->vector_left -= take;
	walk->left -= take;
	return 0;
}

/*
 * How many bytes of a bio are pages of this owner, for an inode that is shared: page by page, up to a bound. What is beyond
 * it is nobody's.
 */
static __always_inline __u32 count_owned(struct bio_vec *vector, __u32 bytes, struct owner *owner, bool has_loop)
{
	struct page_walk walk = {
		.vector = vector, .left = bytes, .pid = owner->who.pid, .start_ns = owner->start_ns
	};

	if (has_loop) {
		bpf_loop(MAX_PAGES, walk_page, &walk, 0);
	} else {
		for (int i = 0; i < MAX_PAGES_UNTIL_5_16; i++)
			if (walk_page(i, &walk))
				break;
	}
	return walk.owned;
}

/* The cgroup that the block layer charges, where it is below the root. */
static __always_inline bool find_cgroup(struct bio *bio, struct owner *owner)
{
	struct cgroup *cgroup;

	if (!bpf_core_field_exists(((struct bio *)0)->bi_blkg))
		return false;
	cgroup = BPF_CORE_READ(bio, bi_blkg, blkcg, css.cgroup);
	if (!cgroup || !BPF_CORE_READ(cgroup, level))
		return false;
	owner->who.cgroup_id = BPF_CORE_READ(cgroup, kn, id);
	return true;
}

static __always_inline bool is_flagged_metadata(__u32 flags)
{
	return flags >> bpf_core_enum_value(enum req_flag_bits, __REQ_META) & 1;
}

/* Pages of a file or of a device that are written back, by whomever. */
static __always_inline void written_back(struct bio *bio, struct provenance *from, struct owner *owner, bool has_loop)
{
	struct bio_vec *vector = first_vector(bio);
	struct file_page file = {};
	struct owner *first;
	__u8 evidence;

	if (find_file(BPF_CORE_READ(vector, bv_page), &file)) {
		if (!name_file(&file, from))
			return;
		first = find_owner(&file, &evidence);
		if (first) {
			*owner = *first;
			from->origin.evidence = evidence;
			if (evidence == EVIDENCE_PAGE)
				from->origin.owned_bytes = count_owned(vector, from->origin.owned_bytes, owner, has_loop);
			return;
		}
	} else if (is_flagged_metadata(BPF_CORE_READ(bio, bi_opf))) {
		from->origin.io_class = IO_METADATA;
		return;
	}
	if (find_cgroup(bio, owner))
		from->origin.evidence = EVIDENCE_CGROUP;
}

/* Functions of their own, because they are needed in several places; two, because of bpf_loop(). */
static __noinline int written_back_loop(struct bio *bio, struct provenance *from, struct owner *owner)
{
	written_back(bio, from, owner, true);
	return 0;
}

static __noinline int written_back_turns(struct bio *bio, struct provenance *from, struct owner *owner)
{
	written_back(bio, from, owner, false);
	return 0;
}

static __always_inline void find_writer(struct bio *bio, struct provenance *from, struct owner *owner, bool has_loop)
{
	if (has_loop)
		written_back_loop(bio, from, owner);
	else
		written_back_turns(bio, from, owner);
}

static __always_inline __u8 class_of_read(__u32 flags)
{
	if (is_flagged_metadata(flags))
		return IO_METADATA;
	if (bpf_core_enum_value_exists(enum req_flag_bits, __REQ_SWAP) &&
	    (flags >> bpf_core_enum_value(enum req_flag_bits, __REQ_SWAP) & 1))
		return IO_SWAP;
	if (flags >> bpf_core_enum_value(enum req_flag_bits, __REQ_RAHEAD) & 1)
		return IO_READAHEAD;
	return IO_DATA;
}

/* Of a request whose bios were not seen, or that has none. */
static __always_inline __u8 class_of_request(__u32 flags)
{
	switch (flags & REQ_OP_MASK) {
	case REQ_OP_READ:
		return class_of_read(flags);
	case REQ_OP_FLUSH:
		return IO_FLUSH;
	case REQ_OP_DISCARD: case REQ_OP_SECURE_ERASE:
		return IO_DISCARD;
	}
	return is_flagged_metadata(flags) ? IO_METADATA : IO_DATA;
}

/* A read into the page cache names its file by its pages; those of a mounted device are the file system's own. */
static __always_inline void reads_file(struct bio *bio, struct provenance *from)
{
	struct file_page file = {};

	if (find_file(BPF_CORE_READ(first_vector(bio), bv_page), &file))
		name_file(&file, from);
}

/*
 * jbd2's thread writes nothing but the journal, and some of it like any other buffer: revoke records and the journal's super
 * block (write_dirty_buffer() in fs/jbd2/revoke.c, jbd2_write_superblock()). Kernel threads get their names from the kernel.
 */
static __always_inline bool is_journal_thread(const char *comm)
{
	return comm[0] == 'j' && comm[1] == 'b' && comm[2] == 'd' && comm[3] == '2' && comm[4] == '/';
}

/* Class, owner and evidence of a bio; false where the filters do not let it through. In the context of its submitter. */
static __always_inline bool find_origin(struct bio *bio, struct provenance *from, bool has_loop)
{
	__u32 flags = bio->bi_opf, bytes = bio->bi_iter.bi_size, op = flags & REQ_OP_MASK;
	bool kernel_thread = current_is_kernel_thread(), by_submitter = !kernel_thread;
	struct owner owner = {};
	__u8 maker;

	from->origin.owned_bytes = bytes;
	from->origin.io_class = IO_DATA;
	if (!bytes) {
		from->origin.io_class = IO_FLUSH;
	} else if (op == REQ_OP_DISCARD || op == REQ_OP_SECURE_ERASE) {
		from->origin.io_class = IO_DISCARD;
	} else if (op == REQ_OP_READ) {
		from->origin.io_class = class_of_read(flags);
		if (maker_of(bio) != MAKER_DIRECT)
			reads_file(bio, from);
	} else if (op == REQ_OP_WRITE || op == REQ_OP_ZONE_APPEND || op == REQ_OP_ZONE_APPEND_UNTIL_6_0) {
		maker = maker_of(bio);
		by_submitter = by_submitter && maker == MAKER_DIRECT;
		if (maker == MAKER_SWAP)
			from->origin.io_class = IO_SWAP;
		else if (maker == MAKER_JOURNAL || (maker == MAKER_BUFFERS && is_journal_buffer(bio)))
			from->origin.io_class = IO_JOURNAL;
		else if (maker == MAKER_METADATA)
			from->origin.io_class = IO_METADATA;
		else if (maker != MAKER_DIRECT)
			find_writer(bio, from, &owner, has_loop);
	}
	if (by_submitter) {
		owned_by_current(&owner);
		from->origin.evidence = EVIDENCE_DIRECT;
	} else {
		struct identity submitter = {};

		identify_current(&submitter);
		from->origin.has_via = 1;
		from->via.submitter_pid = submitter.pid;
		__builtin_memcpy(from->via.submitter_comm, submitter.comm, COMM_BYTES);
		if (from->origin.io_class == IO_METADATA && kernel_thread && is_journal_thread(submitter.comm))
			from->origin.io_class = IO_JOURNAL;
		/* What has no owner is recorded unless owners are chosen. */
		if (from->origin.evidence == EVIDENCE_NONE || from->origin.evidence == EVIDENCE_CGROUP)
			owner.wanted = !by_owner();
	}
	from->origin.who = owner.who;
	from->origin.start_ns = owner.start_ns;
	return owner.wanted;
}

/*
 * What is left of a bio, or the part that was split off it, where its pages had owners of their own: looked at again. False
 * where the filters do not let that part through.
 */
static __always_inline bool find_again(struct bio *part, struct provenance *from, bool has_loop)
{
	struct owner owner = { .wanted = !by_owner() };

	from->origin.owned_bytes = BPF_CORE_READ(part, bi_iter.bi_size);
	from->origin.evidence = EVIDENCE_NONE;
	find_writer(part, from, &owner, has_loop);
	from->origin.who = owner.who;
	from->origin.start_ns = owner.start_ns;
	return owner.wanted;
}

#endif
