/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose dirty pages they are. A page is written to the device long after it was changed, by a kernel worker or by whoever
 * calls fsync(); who changed it is certain only when it turns dirty. So that is remembered: for each inode the process
 * that dirtied it first, and page by page once a second process dirties the same inode. What is not remembered any more
 * is not known; nothing here guesses.
 */
#ifndef IOSTRATA_OWNER_H
#define IOSTRATA_OWNER_H

enum { OWNED_INODES = 65536, OWNED_PAGES = 65536, PAGE_BYTES = 4096 };

struct owner {
	struct identity who;
	/* When its process started. */
	__u64 start_ns;
	/* Whether the filters let it through. */
	__u64 wanted;
};

struct inode_owner {
	/* Of every page that `page_owners` says nothing of. */
	struct owner first;
	/* i_generation: tells the inode from a later one with its number. */
	__u64 generation;
	/* How many pages had ever been told one by one when a second process came; 0 while there is none. */
	__u64 shared_since;
	/* Bytes of those whose I/O is recorded that turned dirty, and that are not dirty any more. Both only grow. */
	__u64 dirtied_bytes;
	__u64 cleaned_bytes;
};

/* LRU: an inode that is forgotten has no owner. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, OWNED_INODES);
	__type(key, struct inode_key);
	__type(value, struct inode_owner);
} inode_owners SEC(".maps");

struct page_key {
	struct inode_key inode;
	/* Of the folio's first page. */
	__u64 index;
};

struct page_owner {
	struct owner owner;
	__u64 generation;
};

/* The pages of inodes that more than one process dirties. LRU. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, OWNED_PAGES);
	__type(key, struct page_key);
	__type(value, struct page_owner);
} page_owners SEC(".maps");

/* Key: 0. How many entries `page_owners` was given, and one: tells whether it can have forgotten any. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} pages_told SEC(".maps");

/* A page of a file. */
struct file_page {
	struct page_key key;
	__u64 generation;
	struct inode *inode;
	/* What is remembered of it. Filled by find_owner(). */
	struct inode_owner *known;
};

static __always_inline struct page *head_of(struct page *page)
{
	unsigned long head = BPF_CORE_READ(page, compound_head);

	return head & 1 ? (struct page *)(head - 1) : page;
}

/* include/linux/page-flags.h: low bits of a mapping that is none of a file. */
enum { PAGE_MAPPING_ANON = 1, PAGE_MAPPING_FLAGS = 3 };

/* Marks of an xarray lie above this bit of its flags, and nothing else does. */
enum { FIRST_MARK = 20 };

static __always_inline unsigned long mapping_of(struct page *head)
{
	if (bpf_core_type_exists(struct folio))
		return (unsigned long)BPF_CORE_READ((struct folio *)head, mapping);
	return (unsigned long)BPF_CORE_READ((struct page___before_folio *)head, mapping);
}

/* False for a page that belongs to no file: anonymous memory, a buffer of a file system or a driver. */
static __always_inline bool find_file(struct page *page, struct file_page *file)
{
	struct page *head = head_of(page);
	unsigned long mapping = mapping_of(head);
	struct inode *inode;

	if (!mapping || mapping & PAGE_MAPPING_FLAGS)
		return false;
	if (bpf_core_type_exists(struct folio))
		file->key.index = BPF_CORE_READ((struct folio *)head, index);
	else
		file->key.index = BPF_CORE_READ((struct page___before_folio *)head, index);
	inode = BPF_CORE_READ((struct address_space *)mapping, host);
	if (!inode)
		return false;
	file->inode = inode;
	file->key.inode.dev = BPF_CORE_READ(inode, i_sb, s_dev);
	file->key.inode.ino = BPF_CORE_READ(inode, i_ino);
	file->generation = BPF_CORE_READ(inode, i_generation);
	return true;
}

static __always_inline bool is_process(struct owner *owner, __u32 pid, __u64 start_ns)
{
	return owner->who.pid == pid && owner->start_ns == start_ns;
}

/* Who dirtied a page; NULL where that is not known. */
static __always_inline struct owner *find_owner(struct file_page *page, __u8 *evidence)
{
	struct inode_owner *inode = bpf_map_lookup_elem(&inode_owners, &page->key.inode);
	struct page_owner *told;
	__u32 zero = 0;
	__u64 *count;

	page->known = 0;
	if (!inode || inode->generation != page->generation)
		return 0;
	page->known = inode;
	if (!inode->shared_since) {
		*evidence = EVIDENCE_INODE;
		return &inode->first;
	}
	*evidence = EVIDENCE_PAGE;
	told = bpf_map_lookup_elem(&page_owners, &page->key);
	if (told && told->generation == page->generation)
		return &told->owner;
	/* The first one's, from before there was a second; unless its entry can have been forgotten. */
	count = bpf_map_lookup_elem(&pages_told, &zero);
	if (!count || *count - inode->shared_since > OWNED_PAGES / 2)
		return 0;
	return &inode->first;
}

/* Tells one page of an inode that is shared, to whomever it belongs. */
static __always_inline void tell_page(struct inode_key *inode, __u64 index, struct owner *owner, __u64 generation)
{
	struct page_key key = { .inode = *inode, .index = index };
	struct page_owner told = { .owner = *owner, .generation = generation };
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&pages_told, &zero);

	if (count)
		__sync_fetch_and_add(count, 1);
	if (bpf_map_update_elem(&page_owners, &key, &told, BPF_ANY)) {
		/* The page would pass for the first owner's: better that the inode has none. */
		bpf_map_delete_elem(&inode_owners, inode);
	}
}

/* System calls in which the kernel writes pages back, and dirties again what it could not write: not their caller's. */
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

/* The current process is the owner, and told where the filters let it through. The recorder tells nobody of itself. */
static __always_inline void owned_by_current(struct owner *owner)
{
	struct told is = told_of_current();

	identify_current(&owner->who);
	owner->start_ns = is.start_ns;
	if (owner->who.pid == config.recorder_pid) {
		owner->wanted = !by_owner();
		return;
	}
	owner->wanted = owner_wanted();
	if (owner->wanted)
		tell_process(owner->who.pid, is, 0);
}

static __always_inline __u64 bytes_of(struct folio *folio)
{
	/* The flags come first in every kernel; what type they have does not matter here. */
	unsigned long flags = *(unsigned long *)folio;
	struct folio___6_14 *old = (struct folio___6_14 *)folio;

	if (!(flags >> bpf_core_enum_value(enum pageflags, PG_head) & 1))
		return PAGE_BYTES;
	if (bpf_core_field_exists(folio->_nr_pages))
		return (__u64)folio->_nr_pages * PAGE_BYTES;
	return bpf_core_field_exists(old->_folio_nr_pages) ? (__u64)BPF_CORE_READ(old, _folio_nr_pages) * PAGE_BYTES : PAGE_BYTES;
}

/* Dirty pages of those whose I/O is recorded, so that a recording can wait until they are written back. */
static __always_inline void count_dirtied(struct inode_owner *known, struct inode *inode, __u64 bytes)
{
	struct account *account;

	/* What has no disk, and what lies on another, never shows up as a request. */
	if (!inode->i_sb->s_bdev || !device_wanted(inode->i_sb->s_dev))
		return;
	account = account_of(CLASS_BLOCK);
	if (!account)
		return;
	account->dirtied_bytes += bytes;
	__sync_fetch_and_add(&known->dirtied_bytes, bytes);
}

/*
 * Whether no page of a file is dirty any more when one of them is on its way to the device. Of the marks of its tree of pages
 * (include/linux/xarray.h: the upper bits, in a place that depends on the kernel's configuration) that page's is then the only one.
 */
static __always_inline bool is_last_dirty(struct file_page *file)
{
	struct inode *inode = file->inode;
	__u32 marks = BPF_CORE_READ(inode, i_mapping, i_pages.xa_flags) >> FIRST_MARK;

	return !(marks & (marks - 1));
}

/*
 * `bytes` of those whose I/O is recorded go to the device. Of a page that turned dirty that may be less than all: what lies beyond the
 * file's end, and blocks of it that were not changed, are not written. So with its last dirty page all of the file is clean.
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
 * Whether the current task is one that dirties again what it could not write back, which is not its own: the kernel's writeback,
 * reclaim and journal, and callers of fsync(). Other kernel threads change pages for somebody; those of a loop device and of an
 * NFS server for clients on this machine say so by PF_LOCAL_THROTTLE.
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

/* Remembers the current task for a page that it makes dirty. What is known of the inode, where the filters let the page's owner through. */
static __always_inline struct inode_owner *remember_dirtier(__u64 index, struct inode *host)
{
	struct inode_key key = { .dev = host->i_sb->s_dev, .ino = host->i_ino };
	__u64 generation = host->i_generation, *count;
	struct inode_owner *inode = bpf_map_lookup_elem(&inode_owners, &key);
	struct owner owner = {};
	__u32 zero = 0;

	if (!inode || inode->generation != generation) {
		struct inode_owner fresh = { .generation = generation };
		long failed;

		owned_by_current(&fresh.first);
		failed = bpf_map_update_elem(&inode_owners, &key, &fresh, inode ? BPF_ANY : BPF_NOEXIST);
		inode = bpf_map_lookup_elem(&inode_owners, &key);
		if (!inode || inode->generation != generation)
			return 0;
		if (!failed)
			return fresh.first.wanted ? inode : 0;
		/* Another process came first. */
	}
	if (!inode->shared_since &&
	    is_process(&inode->first, bpf_get_current_pid_tgid() >> 32, told_of_current().start_ns))
		return inode->first.wanted ? inode : 0;
	if (dirties_again())
		return 0;
	owned_by_current(&owner);
	if (!inode->shared_since) {
		count = bpf_map_lookup_elem(&pages_told, &zero);
		inode->shared_since = count ? *count + 1 : 1;
	}
	tell_page(&key, index, &owner, generation);
	return owner.wanted ? inode : 0;
}

/* A page turns dirty, in the context of whoever changes it: write(), a page fault of a mapping, a file system. */
static __always_inline int page_dirtied(__u64 index, __u64 bytes, struct address_space *mapping)
{
	struct inode_owner *known;

	/* The tracepoint allows for pages without a file. */
	if (!mapping)
		return 0;
	known = remember_dirtier(index, mapping->host);
	if (known) {
		note_use(dev_of_inode(mapping->host), mapping->host);
		count_dirtied(known, mapping->host, bytes);
	}
	return 0;
}

SEC("?tp_btf/writeback_dirty_folio")
int TIMED_PROG(iostrata_dirty_folio, struct folio *folio, struct address_space *mapping)
{
	return page_dirtied(folio->index, bytes_of(folio), mapping);
}

/* Until 5.15. */
SEC("?tp_btf/writeback_dirty_page")
int TIMED_PROG(iostrata_dirty_page, struct page___before_folio *page, struct address_space *mapping)
{
	return page_dirtied(page->index, PAGE_BYTES, mapping);
}

#endif
