/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Owners of dirty pages. A page is written to the device long after it was changed, by a kernel worker or by a caller
 * of fsync(). So the process that changed it is stored: for each inode the process that dirtied it first since it had
 * no dirty page, and for each page once a second process changes the same inode. The owner of an evicted entry is
 * unknown; nothing here guesses.
 */
#ifndef IOSTRATA_OWNER_H
#define IOSTRATA_OWNER_H

#include "core/page.bpf.h"

struct owner {
	struct identity who;
	/* Start time of its process. */
	__u64 start_ns;
	/* True if the filters select it. */
	__u64 wanted;
};

struct inode_owner {
	/* Owner of every page without an entry in `page_owners`. Zero if pages were dirty before the inode had an entry. */
	struct owner first;
	/* i_generation: distinguishes the inode from a later one with its number. */
	__u64 generation;
	/* Time at which the first owner dirtied the inode: entries of `page_owners` from before are invalid. */
	__u64 epoch_ns;
	/* chunks_told_now() when a second process came; 0 while there is none. */
	__u64 shared_since;
	/* Not all writes since then could be stored. */
	__u64 is_vague;
	/* Bytes of recorded processes that became dirty, and bytes that are no longer dirty. Both only grow. */
	__u64 dirtied_bytes;
	__u64 cleaned_bytes;
};

/*
 * Key: inode; value: its owner. Written when pages become dirty. LRU: an evicted inode has no owner. User space sets
 * the size by the machine's memory.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct inode_key);
	__type(value, struct inode_owner);
} inode_owners SEC(".maps");

/* Key: 0; value: how often an inode got another owner or a second one. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} owner_changes SEC(".maps");

static __always_inline bool is_process(struct owner *owner, __u32 pid, __u64 start_ns)
{
	return owner->who.pid == pid && owner->start_ns == start_ns;
}

/* Returns the entry of a page's inode; NULL: none. */
static __always_inline struct inode_owner *inode_owner_of(struct file_page *page)
{
	struct inode_owner *inode = bpf_map_lookup_elem(&inode_owners, &page->inode_key);

	return inode && inode->generation == page->generation ? inode : 0;
}

/*
 * Makes the current process the owner of something on a recorded disk or file system (`on_recorded`), or of pages
 * elsewhere. Emits a process record if the filters select the process and the disk: the process may do no other
 * recorded I/O. The recorder emits no record of itself.
 */
static __always_inline void owned_by_current(struct owner *owner, bool on_recorded)
{
	struct told is = told_of_current();

	identify_current(&owner->who);
	owner->start_ns = is.start_ns;
	if (owner->who.pid == config.recorder_pid) {
		owner->wanted = !by_owner();
		return;
	}
	owner->wanted = owner_wanted();
	if (owner->wanted && on_recorded)
		tell_process(owner->who.pid, is, 0);
}

/* Returns whether the filters select what a kernel thread does to a file: as for the process that dirtied it. */
static __always_inline bool inode_wanted(struct inode *inode)
{
	struct inode_key key = { .dev = HOP(inode)->i_sb->s_dev, .ino = inode->i_ino };
	struct inode_owner *owner;

	if (!by_owner() || owner_wanted())
		return true;
	owner = bpf_map_lookup_elem(&inode_owners, &key);
	return owner && owner->generation == inode->i_generation && owner->first.wanted;
}

#endif
