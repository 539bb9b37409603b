/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Origin of a bio: its class, its owner and the evidence for that. The completion function of a bio identifies the part
 * of the kernel that created it; user space looks the addresses up by name. The first page of a bio identifies the
 * file.
 */
#ifndef IOSTRATA_ORIGIN_H
#define IOSTRATA_ORIGIN_H

#include "core/disk.bpf.h"
#include "core/maker.bpf.h"
#include "owner/owner.bpf.h"
#include "owner/pages.bpf.h"
#include "owner/dirty.bpf.h"
#include "owner/parts.bpf.h"

/*
 * Set once a bio has been submitted to a bio-based device (dm, md, zram) since the start. Most machines use none, and
 * skip the lookups. Never reset.
 */
__u32 hands_bios_on = 0;

/* Bytes beyond this number of pages of a bio with several owners are unattributed: 16 MiB. */
enum { MAX_PAGES = 4096 };

/* Origin of a bio, with its submitter. */
struct provenance {
	struct origin origin;
	/* Valid if `origin.has_submitter` is set. */
	struct submitter submitter;
};

/* Returns the device that a file is on, or is; NULL if its file system does not name one. */
static __always_inline struct block_device *device_under(struct file_page *file)
{
	struct inode *inode = file->inode;

	return is_device(file) ? device_of(inode) : BPF_CORE_READ(inode, i_sb, s_bdev);
}

/* Fills in the file of a page; false if the page is not data but metadata. A device is not a file. */
static __always_inline bool name_file(struct file_page *file, struct provenance *from, __u32 flags)
{
	if (is_metadata(file, flags)) {
		from->origin.io_class = IO_METADATA;
		return false;
	}
	if (is_device(file))
		return true;
	from->origin.file_dev = file->inode_key.dev;
	from->origin.ino = file->inode_key.ino;
	meet_file((__u64)file->inode, from->origin.file_dev, from->origin.ino);
	return true;
}

/* Walk over the pages of a bio. */
struct page_walk {
	struct bio_vec *vector;
	/* Next page, and bytes left of it, of its vector and of the bio. */
	struct page *page;
	__u32 page_left;
	__u32 vector_left;
	__u32 left;
	/* Bytes of owners that the filters select, and of owners that they exclude. */
	__u32 wanted;
	__u32 filtered;
	/* Bytes with an owner that was evicted. */
	__u32 forgotten;
	struct page_finder finder;
};

/* Key: enum gatherer, of those that look at pages; value: the walk of that program. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GATHERER_SPLIT + 1);
	__type(key, __u32);
	__type(value, struct page_walk);
} walks SEC(".maps");

/* Goes to the next vector; `done` bytes of it no longer belong to the bio. */
static __always_inline void enter_vector(struct page_walk *walk, __u32 done)
{
	struct bio_vec *vector = walk->vector;
	__u32 offset = BPF_CORE_READ(vector, bv_offset) + done;

	walk->page = page_at(BPF_CORE_READ(vector, bv_page), offset);
	walk->page_left = PAGE_BYTES - offset % PAGE_BYTES;
	walk->vector_left = BPF_CORE_READ(vector, bv_len) - done;
	walk->vector = (void *)vector + bpf_core_type_size(struct bio_vec);
}

/* Adds one page to the parts; returns 1 at the end of the bio. A global function, with arguments like those of add_part(). */
__noinline int walk_page(__u32 gatherer)
{
	struct page_walk *walk = bpf_map_lookup_elem(&walks, &gatherer);
	struct gathering *gathering = gathering_of(gatherer);
	struct file_page file = {};
	enum finding finding;
	struct owner *owner;
	__u32 take;

	if (!walk || !gathering)
		return 1;
	if (!walk->vector_left)
		enter_vector(walk, 0);
	take = walk->page_left;
	if (take > walk->vector_left)
		take = walk->vector_left;
	if (take > walk->left)
		take = walk->left;
	if (!take)
		return 1;
	if (find_file(walk->page, &file)) {
		finding = find_writer_of(&walk->finder, &file);
		owner = &walk->finder.owner;
		if (finding == FORGOTTEN)
			walk->forgotten += take;
		if (finding == FOUND && !owner->wanted)
			walk->filtered += take;
		if (finding == FOUND && owner->wanted) {
			struct part part = { .who = owner->who, .start_ns = owner->start_ns, .ino = file.inode_key.ino,
					     .file_dev = file.inode_key.dev, .bytes = take, .evidence = walk->finder.evidence,
					     .io_class = IO_DATA };

			gathering->next = part;
			add_part(gatherer);
			walk->wanted += take;
		}
	}
	walk->page = page_at(walk->page, PAGE_BYTES);
	walk->page_left = PAGE_BYTES;
	walk->vector_left -= take;
	walk->left -= take;
	return 0;
}

/* Walks up to MAX_PAGES pages. A global function, with arguments like those of add_part(). */
__noinline int walk_pages(__u32 gatherer)
{
	for (int i = 0; i < MAX_PAGES; i++)
		if (walk_page(gatherer))
			break;
	return 0;
}

/*
 * Collects the owners of a bio's pages, for an inode that is shared: page by page, up to a bound. Bytes beyond it are
 * unattributed. Returns the bytes of owners that the filters select.
 */
static __always_inline __u32 gather_pages(struct bio *bio, __u32 gatherer)
{
	struct page_walk *walk = bpf_map_lookup_elem(&walks, &gatherer);
	struct gathering *gathering = gathering_of(gatherer);
	struct account *account;

	if (!walk || !gathering)
		return 0;
	gathering->list.count = 0;
	walk->vector = first_vector(bio);
	enter_vector(walk, BPF_CORE_READ(bio, bi_iter.bi_bvec_done));
	walk->left = BPF_CORE_READ(bio, bi_iter.bi_size);
	walk->wanted = 0;
	walk->filtered = 0;
	walk->forgotten = 0;
	walk->finder.inode = 0;
	walk->finder.writer = 0;
	walk_pages(gatherer);
	account = gatherer == GATHERER_QUEUED && walk->forgotten ? account_of(CLASS_BLOCK) : 0;
	if (account)
		account->forgotten_bytes += walk->forgotten;
	return walk->wanted;
}

/* Returns the bytes of owners that the filters exclude, of the pages that gather_pages() has walked. */
static __always_inline __u32 filtered_bytes(__u32 gatherer)
{
	struct page_walk *walk = bpf_map_lookup_elem(&walks, &gatherer);

	return walk ? walk->filtered : 0;
}

/* Makes the first part the owner's. Returns whether there is one. */
static __always_inline bool own_first_part(struct provenance *from, struct owner *owner, __u32 gatherer)
{
	struct gathering *gathering = gathering_of(gatherer);

	if (!gathering || !gathering->list.count)
		return false;
	owner->who = gathering->list.part[0].who;
	owner->start_ns = gathering->list.part[0].start_ns;
	owner->wanted = true;
	from->origin.owned_bytes = gathering->list.part[0].bytes;
	from->origin.evidence = gathering->list.part[0].evidence;
	from->origin.others = gathering->list.count - 1;
	return true;
}

/* Finds the cgroup that the block layer charges, if it is below the root. */
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

/*
 * Finds the owner of pages of a file or of a device that are written back, by any task. Bytes that are no longer dirty
 * are counted once, when they are queued.
 */
static __always_inline enum claim find_writer(struct bio *bio, __u32 flags, struct provenance *from, struct owner *owner,
					__u32 gatherer)
{
	__u32 bytes = from->origin.owned_bytes;
	struct file_page file = {};
	bool shared;

	/* First, because buffers of a file system may lie in memory that looks like pages of a file. */
	if (is_flagged_metadata(flags)) {
		from->origin.io_class = IO_METADATA;
		return CLAIM_NOBODY;
	}
	if (find_file(first_page(bio), &file)) {
		if (!name_file(&file, from, flags))
			return CLAIM_NOBODY;
		file.known = inode_owner_of(&file);
		shared = file.known && file.known->shared_since;
		if (shared)
			bytes = gather_pages(bio, gatherer);
		else if (!file.known || !file.known->first.wanted)
			bytes = 0;
		if (gatherer == GATHERER_QUEUED && (!hands_bios_on || is_counted_at(bio, device_under(&file))))
			count_cleaned(&file, bytes);
		if (shared) {
			if (own_first_part(from, owner, gatherer))
				return CLAIM_SELECTED;
			if (by_owner() && filtered_bytes(gatherer))
				return CLAIM_OTHERS;
		} else if (file.known && file.known->first.who.pid) {
			*owner = file.known->first;
			from->origin.evidence = EVIDENCE_INODE;
			return owner->wanted ? CLAIM_SELECTED : CLAIM_OTHERS;
		}
	}
	if (find_cgroup(bio, owner))
		from->origin.evidence = EVIDENCE_CGROUP;
	return CLAIM_NOBODY;
}

/* Returns the class of a request with unseen bios, or without bios. */
static __always_inline __u8 class_of_request(__u32 flags)
{
	switch (flags & REQ_OP_MASK) {
	case REQ_OP_READ:
		return class_of_read(flags, MAKER_UNKNOWN);
	case REQ_OP_FLUSH:
		return IO_FLUSH;
	case REQ_OP_DISCARD: case REQ_OP_SECURE_ERASE:
		return IO_DISCARD;
	}
	if (is_swap(flags, MAKER_UNKNOWN))
		return IO_SWAP;
	return is_flagged_metadata(flags) ? IO_METADATA : IO_DATA;
}

/* Fills in the file of direct I/O if the object that the bio belongs to names it: its pages are memory of a process. */
static __always_inline void name_direct(struct bio *bio, __u8 maker, struct provenance *from)
{
	struct inode *inode = 0;

	if (maker == MAKER_DIRECT_IOMAP && bpf_ksym_exists(bpf_rdonly_cast)) {
		struct iomap_dio *dio = bpf_rdonly_cast(bio->bi_private, bpf_core_type_id_kernel(struct iomap_dio));

		from->origin.ino = dio->iocb->ki_filp->f_inode->i_ino;
		from->origin.file_dev = dio->iocb->ki_filp->f_inode->i_sb->s_dev;
		if (config.names_files)
			meet_file(address_of(dio->iocb->ki_filp->f_inode), from->origin.file_dev, from->origin.ino);
		return;
	}
	if (maker == MAKER_DIRECT_IOMAP)
		inode = BPF_CORE_READ((struct iomap_dio *)bio->bi_private, iocb, ki_filp, f_inode);
	else if (maker == MAKER_DIRECT_DIO)
		inode = BPF_CORE_READ((struct dio *)bio->bi_private, inode);
	if (!inode)
		return;
	from->origin.ino = BPF_CORE_READ(inode, i_ino);
	from->origin.file_dev = BPF_CORE_READ(inode, i_sb, s_dev);
	meet_file((__u64)inode, from->origin.file_dev, from->origin.ino);
}

/* Fills in the file of a read into the page cache by its pages; pages of a mounted device are the file system's own. */
static __always_inline void reads_file(struct bio *bio, __u32 flags, struct provenance *from)
{
	struct file_page file = {};

	if (is_flagged_metadata(flags) || !find_file(first_page(bio), &file))
		return;
	/* Skips the reverse: direct I/O from a device to shared memory, with an unknown creator. */
	if (!is_in_memory(magic_of(&file)))
		name_file(&file, from, flags);
}

/* Data about a bio, determined when it is queued. */
struct queued_as {
	struct provenance from;
	struct owner owner;
	struct identity submitter;
};

/*
 * Finds class, owner and evidence of a bio. Returns its owner with respect to the owner filters. In the context of its
 * submitter.
 */
static __always_inline enum claim find_origin(struct bio *bio, struct queued_as *as)
{
	__u32 flags = bio->bi_opf, bytes = bio->bi_iter.bi_size, op = flags & REQ_OP_MASK;
	bool kernel_thread = current_is_kernel_thread(), by_submitter = !kernel_thread;
	enum claim claim = CLAIM_NOBODY;
	__u8 maker = maker_of(&config.makers, bio);
	struct provenance *from = &as->from;
	struct owner *owner = &as->owner;

	from->origin.owned_bytes = bytes;
	from->origin.io_class = IO_DATA;
	if (!bytes && (op == REQ_OP_WRITE || op == REQ_OP_FLUSH)) {
		from->origin.io_class = IO_FLUSH;
	} else if (op == REQ_OP_DISCARD || op == REQ_OP_SECURE_ERASE) {
		from->origin.io_class = IO_DISCARD;
	} else if (op == REQ_OP_READ) {
		from->origin.io_class = class_of_read(flags, maker);
		if (is_direct(maker))
			name_direct(bio, maker, from);
		else
			reads_file(bio, flags, from);
	} else if (op == REQ_OP_WRITE || op == REQ_OP_ZONE_APPEND || op == REQ_OP_ZONE_APPEND_UNTIL_6_0) {
		if (is_swap(flags, maker))
			maker = MAKER_SWAP;
		if (maker == MAKER_UNKNOWN && by_submitter && is_user_memory(&config.makers, bio))
			maker = MAKER_DIRECT;
		by_submitter = by_submitter && is_direct(maker);
		if (maker == MAKER_SWAP)
			from->origin.io_class = IO_SWAP;
		else if (maker == MAKER_JOURNAL || (maker == MAKER_BUFFERS && is_journal_buffer(&config.makers, bio)))
			from->origin.io_class = IO_JOURNAL;
		else if (maker == MAKER_METADATA)
			from->origin.io_class = IO_METADATA;
		else if (is_direct(maker))
			name_direct(bio, maker, from);
		else
			claim = find_writer(bio, flags, from, owner, GATHERER_QUEUED);
	}
	if (by_submitter) {
		owned_by_current(owner, true);
		from->origin.evidence = EVIDENCE_DIRECT;
		claim = owner->wanted ? CLAIM_SELECTED : CLAIM_OTHERS;
	} else {
		struct identity *submitter = &as->submitter;

		identify_current(submitter);
		from->origin.has_submitter = 1;
		from->submitter.pid = submitter->pid;
		__builtin_memcpy(from->submitter.comm, submitter->comm, COMM_BYTES);
		if (kernel_thread)
			from->origin.io_class = class_by_thread(from->origin.io_class, submitter->comm);
	}
	from->origin.who = owner->who;
	from->origin.start_ns = owner->start_ns;
	return claim;
}

/*
 * For what is left of a bio, or the part that was split off it: if its pages had owners of their own, they are looked
 * up again. False if all of that part belongs to owners that the filters exclude.
 */
static __always_inline bool find_again(struct bio *part, struct provenance *from)
{
	struct owner owner = {};
	enum claim claim;

	from->origin.owned_bytes = BPF_CORE_READ(part, bi_iter.bi_size);
	if (from->origin.evidence != EVIDENCE_PAGE && from->origin.evidence != EVIDENCE_FOLIO)
		return true;
	from->origin.evidence = EVIDENCE_NONE;
	from->origin.others = 0;
	claim = find_writer(part, BPF_CORE_READ(part, bi_opf), from, &owner, GATHERER_SPLIT);
	from->origin.who = owner.who;
	from->origin.start_ns = owner.start_ns;
	return claim != CLAIM_OTHERS;
}

#endif
