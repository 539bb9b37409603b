/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * File records: emitted when a file is first seen, and when it is seen under another name. If a process has the file
 * open, the path is the one that this process sees. If only pages of the file are seen, it is the path in the file
 * system.
 */
#ifndef IOSTRATA_NAME_H
#define IOSTRATA_NAME_H

#include "core/page.bpf.h"

enum { NAMED_FILES = 65536, MET_FILES = 1024 };

/* Maximum number of records per file and second: two hard links that are used in turn do not cause records for ever. */
enum { MAX_NAMES = 16 };

static const __u64 NAMES_NS = 1000000000;

struct named {
	/* i_generation: distinguishes the inode from a later one with its number. */
	__u32 generation;
	/* The kernel's hash of the name and of the directory's address; 0: no name. */
	__u32 name_hash;
	/* Emitted with the path that a process sees. */
	__u32 by_file;
	/* Number of records since `since_ns`. */
	__u32 times;
	__u64 since_ns;
};

/* Key: inode; value: the last file record. Written by name_met(). LRU: the record of an evicted file is emitted again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, NAMED_FILES);
	__type(key, struct inode_key);
	__type(value, struct named);
} named SEC(".maps");

/* Files that need no lookup in `named`, as one word each: a word cannot be read half written. */
struct met {
	__u64 file;
	__u64 inode;
};

/*
 * Key: inode number, folded. Files that were created one after the other do not collide, as they would with a hash.
 * Value: file recently seen on this CPU, by an open file and by its pages. Written by name_met().
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MET_FILES);
	__type(key, __u32);
	__type(value, struct met);
} met SEC(".maps");

static __always_inline struct met *met_slot(__u32 dev, __u64 ino)
{
	__u32 slot = (ino + dev * 61) & (MET_FILES - 1);

	return bpf_map_lookup_elem(&met, &slot);
}

/*
 * Returns a number that differs for each generation and name of one inode number: multiplication by an odd number loses
 * nothing.
 */
static __always_inline __u64 mark_of(__u32 dev, __u64 ino, __u32 generation, __u32 name_hash)
{
	return (ino ^ (__u64)dev << 32) * 0x9e3779b97f4a7c15ULL ^ ((__u64)generation << 32 | name_hash) * 0xc2b2ae3d27d4eb4fULL;
}

static __always_inline __u8 kind_of(__u16 type, unsigned long magic)
{
	if (type == S_IFBLK)
		return FD_BLOCK;
	if (type == S_IFDIR)
		return FD_DIRECTORY;
	if (type != S_IFREG)
		return FD_UNKNOWN;
	return is_in_memory(magic) ? FD_MEMORY : FD_REGULAR;
}

/* fs/ext4/ext4.h; fs/ext4/mballoc.c uses this inode number for its cache. */
enum { EXT4_BAD_INO = 1 };

/* Returns whether this is the inode in which ext4's allocator caches its block groups. It looks like a file in some versions. */
static __always_inline bool is_allocators(struct inode *inode)
{
	return HOP(inode)->i_sb->s_magic == EXT4_SUPER_MAGIC && inode->i_ino == EXT4_BAD_INO;
}

/* Returns the device that a file is on, or that it is. */
static __always_inline __u32 dev_of_inode(struct inode *inode)
{
	return (inode->i_mode & S_IFMT) == S_IFBLK ? inode->i_rdev : HOP(inode)->i_sb->s_dev;
}

/* Decision about a file record: not needed, to be emitted, or suppressed by the rate limit. */
enum news { NEWS_NONE, NEWS_TO_TELL, NEWS_TOO_OFTEN };

/* Decides whether a record is emitted for what a file `is`, after what it `was`. */
static __always_inline enum news find_news(struct named *was, struct named *is)
{
	bool same;

	if (!was)
		return NEWS_TO_TELL;
	same = was->generation == is->generation;
	if (same && is->by_file && was->by_file && was->name_hash == is->name_hash)
		return NEWS_NONE;
	/* Pages lead to only one of the file's names: enough if the file had none. */
	if (same && !is->by_file && (was->by_file || was->name_hash || !is->name_hash))
		return NEWS_NONE;
	if (is->since_ns - was->since_ns > NAMES_NS)
		return NEWS_TO_TELL;
	if (same && was->times >= MAX_NAMES)
		return NEWS_TOO_OFTEN;
	is->times = was->times + 1;
	is->since_ns = was->since_ns;
	return NEWS_TO_TELL;
}

/* Emits a file record. False if it was lost, or if another program took over the walk: then it is tried again. */
static __always_inline bool tell_name(struct inode_key *key, struct file *file, struct inode *inode, struct dentry *dentry,
				      __u32 pid, __u64 at_ns, __u8 kind)
{
	const char *fs = BPF_CORE_READ(inode, i_sb, s_type, name);
	__u64 ticket = path_ticket();
	struct path_walk *walk = walk_path(file, dentry, ticket);
	struct name_event *event;
	void *ring = ring_of_this_cpu(CLASS_FILE);

	if (!ring || !walk)
		return false;
	event = reserve_event(ring, CLASS_FILE, sizeof(*event), OP_NONE, 0);
	if (!event)
		return false;
	fill_head(&event->head, CLASS_FILE, OP_NONE, kind, at_ns);
	event->ino = key->ino;
	event->dev = key->dev;
	event->generation = BPF_CORE_READ(inode, i_generation);
	event->pid = pid ? pid : bpf_get_current_pid_tgid() >> 32;
	__builtin_memset(event->reserved, 0, sizeof(event->reserved));
	event->deleted = !BPF_CORE_READ(inode, i_nlink);
	if (bpf_probe_read_kernel_str(event->fs, sizeof(event->fs), fs) <= 0)
		event->fs[0] = 0;
	event->components = walk->components;
	event->mount_namespace = walk->mount_namespace;
	event->path_origin = take_path(event->path, walk, ticket);
	submit_event(event, sizeof(*event));
	return true;
}

/*
 * Emits the record of a file that was not recently seen on this CPU, unless it was emitted. A global function: the
 * verifier checks it once for each program. `file_address`: 0 if only the inode is known. `pid`: 0 is the current
 * process. `at_ns`: not after the start of the operation on the file; 0: now.
 */
__noinline int name_met(__u64 file_address, __u64 inode_address, __u32 pid, __u64 at_ns)
{
	struct file *file = (struct file *)file_address;
	struct inode *inode = file ? BPF_CORE_READ(file, f_inode) : (struct inode *)inode_address;
	struct dentry *dentry = file ? BPF_CORE_READ(file, f_path.dentry) : alias_of(inode);
	struct named is = { .by_file = file != 0, .times = 1, .since_ns = bpf_ktime_get_ns() };
	struct inode_key key = {};
	enum news news;
	struct met *met;
	__u8 kind = kind_of(BPF_CORE_READ(inode, i_mode) & S_IFMT, BPF_CORE_READ(inode, i_sb, s_magic));

	key.ino = BPF_CORE_READ(inode, i_ino);
	key.dev = kind == FD_BLOCK ? BPF_CORE_READ(inode, i_rdev) : BPF_CORE_READ(inode, i_sb, s_dev);
	is.generation = BPF_CORE_READ(inode, i_generation);
	is.name_hash = dentry ? BPF_CORE_READ(dentry, d_name.hash) : 0;
	at_ns = at_ns ? at_ns : is.since_ns;
	news = find_news(bpf_map_lookup_elem(&named, &key), &is);
	if (news == NEWS_TO_TELL) {
		/* A lost record is tried again. */
		if (!tell_name(&key, file, inode, dentry, pid, at_ns, kind))
			return 0;
		/* If this fails, the record is emitted once more, which is harmless. */
		bpf_map_update_elem(&named, &key, &is, BPF_ANY);
	}
	met = met_slot(key.dev, key.ino);
	if (!met || news == NEWS_TOO_OFTEN)
		return 0;
	if (file)
		met->file = mark_of(key.dev, key.ino, is.generation, is.name_hash);
	met->inode = mark_of(key.dev, key.ino, is.generation, 0);
	return 0;
}

/* Handles an inode with pages that were seen: a file or a directory, or an internal inode of a file system, which has no name. */
static __always_inline void meet_inode(struct inode *inode, __u64 at_ns)
{
	__u32 dev = HOP(inode)->i_sb->s_dev, type = inode->i_mode & S_IFMT;
	struct met *met = met_slot(dev, inode->i_ino);

	if (!met || met->inode == mark_of(dev, inode->i_ino, inode->i_generation, 0))
		return;
	if ((type == S_IFREG || type == S_IFDIR) && !is_allocators(inode))
		name_met(0, address_of(inode), 0, at_ns);
}

/* Handles the file of a bio in the same manner, by the address of its inode, where no call names files (`names_files`). */
static __always_inline void meet_file(__u64 inode_address, __u32 dev, __u64 ino)
{
	struct inode *inode = (struct inode *)inode_address;
	struct met *met;

	if (!config.names_files)
		return;
	met = met_slot(dev, ino);
	if (!met || met->inode == mark_of(dev, ino, BPF_CORE_READ(inode, i_generation), 0))
		return;
	if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) == S_IFREG)
		name_met(0, inode_address, 0, 0);
}

#endif
