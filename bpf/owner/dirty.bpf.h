/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processes that change pages of files: stored when a folio becomes dirty and, if the file system has an event for each
 * write, at every write. Also counts how much of the recorded processes' data is still dirty.
 */
#ifndef IOSTRATA_DIRTY_H
#define IOSTRATA_DIRTY_H

/*
 * Returns whether the current system call writes pages back. In it the kernel dirties pages again that it could not
 * write: these are not its caller's.
 */
static __always_inline bool only_syncs(void)
{
	struct task_struct *task;
	struct pt_regs *registers;

	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs) || current_is_io_worker())
		return false;
	task = bpf_get_current_task_btf();
	registers = (struct pt_regs *)bpf_task_pt_regs(task);
	switch (BPF_CORE_READ(registers, orig_ax)) {
	case NR_MSYNC: case NR_FSYNC: case NR_FDATASYNC: case NR_SYNC: case NR_SYNC_FILE_RANGE: case NR_SYNCFS:
		return true;
	}
	return false;
}

static __always_inline __u64 bytes_of(struct folio *folio)
{
	/* The flags are the first member in every kernel; their type does not matter here. */
	unsigned long flags = *(unsigned long *)folio;
	struct folio___6_14 *old = (struct folio___6_14 *)folio;

	if (!(flags >> bpf_core_enum_value(enum pageflags, PG_head) & 1))
		return PAGE_BYTES;
	if (bpf_core_field_exists(folio->_nr_pages))
		return (__u64)folio->_nr_pages * PAGE_BYTES;
	return bpf_core_field_exists(old->_folio_nr_pages) ? (__u64)BPF_CORE_READ(old, _folio_nr_pages) * PAGE_BYTES : PAGE_BYTES;
}

/* Counts dirty pages of recorded processes, so that a recording can wait until they are written back. */
static __always_inline void count_dirtied(struct inode_owner *known, struct inode *inode, __u64 bytes)
{
	struct account *account;

	/* Pages without a disk, and pages on another disk, never appear as requests. */
	if (!HOP(inode)->i_sb->s_bdev || !device_wanted(HOP(inode)->i_sb->s_dev))
		return;
	account = account_of(CLASS_BLOCK);
	if (!account)
		return;
	account->dirtied_bytes += bytes;
	__sync_fetch_and_add(&known->dirtied_bytes, bytes);
}

/*
 * Returns whether no page of a file is dirty any more when one of them is submitted for writeback. The mark of that
 * page is then the only one of the file's xarray (include/linux/xarray.h: the upper bits, at a position that depends on
 * the kernel's configuration).
 */
static __always_inline bool is_last_dirty(struct file_page *file)
{
	struct inode *inode = file->inode;
	__u32 marks = BPF_CORE_READ(inode, i_mapping, i_pages.xa_flags) >> FIRST_MARK;

	return !(marks & (marks - 1));
}

/*
 * Counts `bytes` of recorded processes that go to the device. They may be less than the page that became dirty: bytes
 * beyond the end of the file, and blocks that were not changed, are not written. So with its last dirty page the whole
 * file is clean.
 */
static __always_inline void count_cleaned(struct file_page *file, __u64 bytes)
{
	struct inode_owner *known = file->known;
	struct account *account;
	__s64 left;

	if (!known)
		return;
	left = known->dirtied_bytes - known->cleaned_bytes;
	if (left <= 0)
		return;
	if (bytes > left || is_last_dirty(file))
		bytes = left;
	account = bytes ? account_of(CLASS_BLOCK) : 0;
	if (!account)
		return;
	account->cleaned_bytes += bytes;
	__sync_fetch_and_add(&known->cleaned_bytes, bytes);
}

/*
 * Returns whether the current task is one that dirties pages again that it could not write back, and that are not its
 * own: the kernel's writeback, reclaim and journal threads, and callers of fsync(). Other kernel threads change pages
 * on behalf of others; those of a loop device and of an NFS server for clients on this machine have PF_LOCAL_THROTTLE.
 */
static __always_inline bool dirties_again(void)
{
	__u32 flags = flags_of_current();
	char comm[COMM_BYTES] = {};

	if (!(flags & PF_KTHREAD))
		return only_syncs();
	if (flags & PF_LOCAL_THROTTLE)
		return false;
	bpf_get_current_comm(comm, sizeof(comm));
	return flags & (PF_WQ_WORKER | PF_KSWAPD) || is_journal_thread(comm);
}

static __always_inline void count_owner_change(void)
{
	__u32 zero = 0;
	__u64 *changes = bpf_map_lookup_elem(&owner_changes, &zero);

	if (changes)
		__sync_fetch_and_add(changes, 1);
}

/* Last writer on this CPU. */
struct last_writer {
	/* Inode of which no other process has dirty pages, as of `changes`, the number of owner changes. */
	__u64 inode;
	__u64 super;
	__u64 ino;
	__u64 generation;
	__u64 changes;
	/* Thread: its address and its start time. */
	__u64 task;
	__u64 start_ns;
	/* Last write to an inode that may be of several processes: inode, thread, start and end in bytes. */
	__u64 written_inode;
	__u64 written_ids;
	__u64 from;
	__u64 until;
};
/* Key: 0; value: the last writer on this CPU. Written when pages become dirty and at writes. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct last_writer);
} last_writers SEC(".maps");

/* Returns whether the current task is the only one with dirty pages of the inode, as far as this CPU knows: the common case. */
static __always_inline bool writes_alone(struct last_writer *last, struct inode *inode, __u64 changes)
{
	return last->inode == number_of(inode) && last->changes == changes && last->super == number_of(HOP(inode)->i_sb) &&
	       last->ino == inode->i_ino && last->generation == inode->i_generation && last->task == bpf_get_current_task() &&
	       last->start_ns == start_of_current();
}

/* Stores that it is. `changes`: value from before the owner of the inode's dirty pages was looked up. */
static __always_inline void remember_alone(struct last_writer *last, struct inode *inode, __u64 changes)
{
	last->inode = number_of(inode);
	last->super = number_of(HOP(inode)->i_sb);
	last->ino = inode->i_ino;
	last->generation = inode->i_generation;
	last->task = bpf_get_current_task();
	last->start_ns = start_of_current();
	last->changes = changes;
}

/*
 * Returns whether the current task holds the inode's lock for writing. False for every task if the lock does not record
 * its owner (PREEMPT_RT).
 */
static __always_inline bool is_changing(struct inode *inode)
{
	return bpf_core_field_exists(inode->i_rwsem.owner) && (__u64)inode->i_rwsem.owner.counter == bpf_get_current_task();
}

static __always_inline void share_inode(struct inode_owner *known)
{
	if (known->shared_since)
		return;
	known->shared_since = chunks_told_now();
	count_owner_change();
}

/* Stores the current task, `owner`, as the writer of pages of an inode that several processes change. */
static __always_inline void remember_writer(struct inode_key *key, struct inode_owner *known, struct owner *owner, __u64 first,
					    __u64 last, __u64 from, __u64 until, bool were_clean)
{
	__u32 zero = 0;
	struct telling *telling = bpf_map_lookup_elem(&tellings, &zero);

	share_inode(known);
	if (!telling)
		return;
	telling->key.inode = *key;
	telling->key.chunk = first / CHUNK_PAGES;
	telling->epoch_ns = known->epoch_ns;
	telling->first = first;
	telling->last = last;
	telling->from = from;
	telling->until = until;
	telling->were_clean = were_clean;
	telling->is_first = is_process(&known->first, owner->who.pid, owner->start_ns);
	telling->writer = number_of_writer(owner);
	/* A page without an entry would be attributed to the first owner. */
	if (!telling->writer || tell_pages(zero))
		known->is_vague = 1;
}

/*
 * Finds what the current task has just written of the folio that becomes dirty, if the write had an event: then the
 * file system has locked the inode. Start and end, in bytes; otherwise all of the folio.
 */
static __always_inline void find_written(struct inode *inode, __u64 *from, __u64 *until)
{
	__u32 zero = 0;
	struct last_writer *last = bpf_map_lookup_elem(&last_writers, &zero);

	*from = 0;
	*until = -1;
	if (last && last->written_inode == number_of(inode) && last->written_ids == bpf_get_current_pid_tgid() && is_changing(inode)) {
		*from = last->from;
		*until = last->until;
	}
}

/* Creates the entry of an inode that has none. */
static __always_inline struct inode_owner *remember_inode(struct inode_key *key, struct inode *host, bool is_there)
{
	struct inode_owner fresh = { .generation = host->i_generation, .epoch_ns = bpf_ktime_get_ns() }, *known;
	struct account *account;
	long failed;

	if (is_clean(host))
		owned_by_current(&fresh.first, device_wanted(dev_of_inode(host)));
	else
		fresh.shared_since = chunks_told_now();
	failed = bpf_map_update_elem(&inode_owners, key, &fresh, is_there ? BPF_ANY : BPF_NOEXIST);
	if (!failed && !is_there) {
		account = account_of(CLASS_BLOCK);
		if (account)
			account->inodes_remembered++;
	}
	count_owner_change();
	known = bpf_map_lookup_elem(&inode_owners, key);
	return known && known->generation == host->i_generation ? known : 0;
}

/* No page of the inode is dirty: the current task becomes its only owner. */
static __always_inline bool begin_anew(struct inode_owner *known, struct inode *host)
{
	owned_by_current(&known->first, device_wanted(dev_of_inode(host)));
	known->epoch_ns = bpf_ktime_get_ns();
	known->shared_since = 0;
	known->is_vague = 0;
	count_owner_change();
	return known->first.wanted;
}

/* Pages of a mounted device are metadata, which is not attributable to a process. */
static __always_inline bool is_file_systems_own(struct inode *inode)
{
	return (inode->i_mode & S_IFMT) == S_IFBLK && is_mounted((struct inode *)address_of(inode));
}

/*
 * Stores the current task as the one that makes a folio dirty. Returns the entry of the inode if the filters select the
 * folio's owner.
 */
static __always_inline struct inode_owner *remember_dirtier(__u64 index, __u64 bytes, struct inode *host, struct last_writer *last,
							      __u64 changes)
{
	struct inode_key key = { .dev = HOP(host)->i_sb->s_dev, .ino = host->i_ino };
	struct inode_owner *known = bpf_map_lookup_elem(&inode_owners, &key);
	struct owner owner = {};
	__u64 from, until;

	if (!known || known->generation != host->i_generation) {
		known = remember_inode(&key, host, !!known);
		if (!known)
			return 0;
	}
	if (!known->shared_since && is_process(&known->first, bpf_get_current_pid_tgid() >> 32, told_of_current().start_ns)) {
		remember_alone(last, host, changes);
		return known->first.wanted ? known : 0;
	}
	if (dirties_again() || is_file_systems_own(host))
		return 0;
	if (is_clean(host))
		return begin_anew(known, host) ? known : 0;
	owned_by_current(&owner, device_wanted(dev_of_inode(host)));
	find_written(host, &from, &until);
	remember_writer(&key, known, &owner, index, index + bytes / PAGE_BYTES - 1, from, until, true);
	return owner.wanted ? known : 0;
}

/* A page becomes dirty, in the context of the task that changes it: write(), a page fault of a mapping, a file system. */
static __always_inline int page_dirtied(__u64 index, __u64 bytes, struct address_space *mapping)
{
	__u32 zero = 0;
	struct last_writer *last = bpf_map_lookup_elem(&last_writers, &zero);
	__u64 *changes = bpf_map_lookup_elem(&owner_changes, &zero), changes_before;
	struct inode_owner *known;
	struct inode *inode;

	/* The tracepoint allows pages without a file. */
	if (!mapping || !last || !changes)
		return 0;
	inode = HOP(mapping)->host;
	changes_before = *changes;
	if (!config.counts_dirty && writes_alone(last, inode, changes_before))
		return 0;
	known = remember_dirtier(index, bytes, inode, last, changes_before);
	if (known) {
		note_use(dev_of_inode(inode), inode);
		if (config.counts_dirty)
			count_dirtied(known, inode, bytes);
	}
	return 0;
}

/* writeback_dirty_folio: a folio becomes dirty. Stores its owner. */
SEC("?tp_btf/writeback_dirty_folio")
int TIMED_PROG(iostrata_dirty_folio, struct folio *folio, struct address_space *mapping)
{
	return page_dirtied(folio->index, bytes_of(folio), mapping);
}

/* Until 5.15: writeback_dirty_page. */
SEC("?tp_btf/writeback_dirty_page")
int TIMED_PROG(iostrata_dirty_page, struct page___before_folio *page, struct address_space *mapping)
{
	return page_dirtied(page->index, PAGE_BYTES, mapping);
}

/*
 * Bytes of an inode are written, in the context of the task that does it, which has locked the inode. Clean pages
 * become dirty after this.
 */
static __always_inline int file_written(struct inode *inode, __u64 from, __u64 bytes)
{
	__u32 zero = 0;
	struct last_writer *last = bpf_map_lookup_elem(&last_writers, &zero);
	__u64 *changes = bpf_map_lookup_elem(&owner_changes, &zero), changes_before;
	struct inode_owner *known;
	struct inode_key key = {};
	struct owner owner = {};

	/* For the verifier, arguments of a module's tracepoint may be NULL. */
	if (!inode || !bytes || !last || !changes)
		return 0;
	changes_before = *changes;
	if (writes_alone(last, inode, changes_before))
		return 0;
	last->written_inode = number_of(inode);
	last->written_ids = bpf_get_current_pid_tgid();
	last->from = from;
	last->until = from + bytes;
	key.dev = HOP(inode)->i_sb->s_dev;
	key.ino = inode->i_ino;
	known = bpf_map_lookup_elem(&inode_owners, &key);
	/* For an inode without an entry, all pages that were dirty have an unknown owner. */
	if (!known || known->generation != inode->i_generation)
		return 0;
	if (!known->shared_since && is_process(&known->first, bpf_get_current_pid_tgid() >> 32, told_of_current().start_ns)) {
		remember_alone(last, inode, changes_before);
		return 0;
	}
	if (is_clean(inode))
		return 0;
	owned_by_current(&owner, device_wanted(dev_of_inode(inode)));
	remember_writer(&key, known, &owner, from / PAGE_BYTES, (from + bytes - 1) / PAGE_BYTES, from, from + bytes, false);
	return 0;
}

/*
 * ext4_da_write_end, ext4_write_end, ext4_journalled_write_end: each write of ext4 ends in one of these, piece by
 * piece, before its pages become dirty.
 */
SEC("?tp_btf/ext4_da_write_end")
int TIMED_PROG(iostrata_ext4_da_write_end, struct inode *inode, __s64 offset, unsigned int length, unsigned int copied)
{
	return file_written(inode, offset, copied);
}

SEC("?tp_btf/ext4_write_end")
int TIMED_PROG(iostrata_ext4_write_end, struct inode *inode, __s64 offset, unsigned int length, unsigned int copied)
{
	return file_written(inode, offset, copied);
}

SEC("?tp_btf/ext4_journalled_write_end")
int TIMED_PROG(iostrata_ext4_journalled_write_end, struct inode *inode, __s64 offset, unsigned int length, unsigned int copied)
{
	return file_written(inode, offset, copied);
}

/* xfs_file_buffered_write: at the start of a write of XFS, for all of it. With these arguments since 5.12. */
SEC("?tp_btf/xfs_file_buffered_write")
int TIMED_PROG(iostrata_xfs_buffered_write, struct kiocb *iocb, struct iov_iter *iter)
{
	if (!iocb || !iter)
		return 0;
	return file_written(HOP(iocb)->ki_filp->f_inode, iocb->ki_pos, iter->count);
}

#endif
