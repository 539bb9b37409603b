/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processes that change files, for their writeback. Unlike `owner/`, one process for each file, and not for each page: a
 * file that several processes have changed since it was clean has no process here.
 */
#ifndef IOSTRATA_WRITER_H
#define IOSTRATA_WRITER_H

struct writer {
	__u64 start_ns;
	/* 0: several, or unknown because pages were dirty before the entry. */
	__u32 pid;
	__u32 reserved;
	/* Several processes are known to have changed it. */
	__u32 is_shared;
	/* The filters select it. */
	__u32 is_selected;
};

/* Key: inode, with its generation in place of `reserved`; value: its writer. Written when a page becomes dirty. LRU: the writer of an evicted inode is unknown. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct inode_key);
	__type(value, struct writer);
} file_writers SEC(".maps");

/*
 * Kernel threads dirty pages again that they could not write back: these are not theirs. Those of a loop device and of an
 * NFS server change pages for clients on this machine.
 */
static __always_inline bool dirties_again(void)
{
	__u32 flags = flags_of_current();

	return flags & PF_KTHREAD && !(flags & PF_LOCAL_THROTTLE);
}

/* A page becomes dirty, in the context of the task that changes it. */
static __always_inline int page_dirtied(struct address_space *mapping)
{
	struct writer fresh = {}, *known;
	struct inode_key key = {};
	struct inode *inode;

	/* The tracepoint allows pages without a file. */
	if (!mapping || dirties_again())
		return 0;
	inode = HOP(mapping)->host;
	key.dev = HOP(inode)->i_sb->s_dev;
	key.ino = inode->i_ino;
	key.reserved = inode->i_generation;
	find_current(&fresh.start_ns, &fresh.pid);
	known = bpf_map_lookup_elem(&file_writers, &key);
	fresh.is_selected = current_is_selected();
	if (known) {
		if (known->pid == fresh.pid && known->start_ns == fresh.start_ns) {
			/* An exec, another thread or another cgroup may differ from the last write. */
			known->is_selected = fresh.is_selected;
			if (fresh.is_selected)
				meet_current(fresh.start_ns, fresh.pid, bpf_ktime_get_ns());
			return 0;
		}
		if (!is_clean(inode)) {
			known->pid = 0;
			known->is_shared = 1;
			return 0;
		}
	} else if (!is_clean(inode)) {
		fresh.pid = 0;
	}
	if (fresh.pid && fresh.is_selected)
		meet_current(fresh.start_ns, fresh.pid, bpf_ktime_get_ns());
	/* Without room an earlier entry is evicted, and its inode has an unknown writer. */
	if (bpf_map_update_elem(&file_writers, &key, &fresh, BPF_ANY))
		count_table_full();
	return 0;
}

SEC("?tp_btf/writeback_dirty_folio")
int BPF_PROG(block_activity_dirty_folio, struct folio *folio, struct address_space *mapping)
{
	return page_dirtied(mapping);
}

/* Until 5.15: writeback_dirty_page. */
SEC("?tp_btf/writeback_dirty_page")
int BPF_PROG(block_activity_dirty_page, struct page___before_folio *page, struct address_space *mapping)
{
	return page_dirtied(mapping);
}

/* Returns the writer of a page's file; NULL: unknown. */
static __always_inline struct writer *writer_of(struct file_page *page)
{
	struct inode_key key = { .dev = page->inode_key.dev, .reserved = page->generation, .ino = page->inode_key.ino };

	return bpf_map_lookup_elem(&file_writers, &key);
}

#endif
