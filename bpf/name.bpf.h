/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The names of files, told when a file is first met and when it is met under another name. Where a process has it open the
 * path is the one that this process sees; where only pages of it are seen, its place in its file system.
 */
#ifndef IOSTRATA_NAME_H
#define IOSTRATA_NAME_H

enum { NAMED_FILES = 65536, MET_FILES = 1024 };

/* So many rows of one file within a second: two hard links of it that are used in turn are not told for ever. */
enum { MAX_NAMES = 16 };

static const __u64 NAMES_NS = 1000000000;

struct inode_key {
	__u32 dev;
	__u32 reserved;
	__u64 ino;
};

struct named {
	/* i_generation: tells the inode from a later one with its number. */
	__u32 generation;
	/* The kernel's hash of the name and of the directory's address; 0: without a name. */
	__u32 name_hash;
	/* Told as a process sees it. */
	__u32 by_file;
	/* How often since. */
	__u32 times;
	__u64 since_ns;
};

/* What was told of each file. LRU: one that is forgotten is told again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, NAMED_FILES);
	__type(key, struct inode_key);
	__type(value, struct named);
} named SEC(".maps");

/* What needs no look at `named`, as one number each: what is half written cannot be read. */
struct met {
	__u64 file;
	__u64 inode;
};

/*
 * Key: the inode number, folded: files that were made one after the other do not get into each other's way, as they would by
 * a hash. Met lately on this CPU, by an open file and by its pages.
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

/* For one inode number another with each generation and name: multiplying by an odd number loses nothing. */
static __always_inline __u64 mark_of(__u32 dev, __u64 ino, __u32 generation, __u32 name_hash)
{
	return (ino ^ (__u64)dev << 32) * 0x9e3779b97f4a7c15ULL ^ ((__u64)generation << 32 | name_hash) * 0xc2b2ae3d27d4eb4fULL;
}

/* One of the names that an inode has in memory; NULL where it has none. */
static __always_inline struct dentry *alias_of(struct inode *inode)
{
	struct hlist_node *node = BPF_CORE_READ(inode, i_dentry.first);

	if (!node || !bpf_core_field_exists(struct dentry, d_u.d_alias))
		return 0;
	return (void *)node - bpf_core_field_offset(struct dentry, d_u.d_alias);
}

/* Whether the files of a file system with this magic have no device. */
static __always_inline bool is_in_memory(unsigned long magic)
{
	switch (magic) {
	case TMPFS_MAGIC: case RAMFS_MAGIC: case HUGETLBFS_MAGIC: case SECRETMEM_MAGIC: case GUEST_MEMORY_MAGIC:
		return true;
	}
	return false;
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

/* fs/ext4/ext4.h; fs/ext4/mballoc.c uses it for its cache. */
enum { EXT4_BAD_INO = 1 };

/* The inode in which ext4's allocator keeps its block groups, which passes for a file in some versions. */
static __always_inline bool is_allocators(struct inode *inode)
{
	return HOP(inode)->i_sb->s_magic == EXT4_SUPER_MAGIC && inode->i_ino == EXT4_BAD_INO;
}

/* Of the device that a file lies on, or that it is. */
static __always_inline __u32 dev_of_inode(struct inode *inode)
{
	return (inode->i_mode & S_IFMT) == S_IFBLK ? inode->i_rdev : HOP(inode)->i_sb->s_dev;
}

enum news { NEWS_NONE, NEWS_TO_TELL, NEWS_TOO_OFTEN };

/* Whether what a file `is` is to be told, after what it `was`. */
static __always_inline enum news find_news(struct named *was, struct named *is)
{
	bool same;

	if (!was)
		return NEWS_TO_TELL;
	same = was->generation == is->generation;
	if (same && is->by_file && was->by_file && was->name_hash == is->name_hash)
		return NEWS_NONE;
	/* Its pages tell one of its names only: enough where it had none. */
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

/* False where it was lost, or where another program came between: then it is tried again. */
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
 * A file that was not met lately on this CPU: told, unless it was. A function with linkage, which the verifier goes through
 * once for each program. `file_address`: 0 where only the inode is known. `pid`: 0 is the current process. `at_ns`: not after
 * the start of what it is met in; 0 is now.
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
		/* What was lost is tried again. */
		if (!tell_name(&key, file, inode, dentry, pid, at_ns, kind))
			return 0;
		/* Where this fails it is told once more, which does no harm. */
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

/* An inode of which pages are seen: a file or a directory, or what a file system keeps as one and has no name for. */
static __always_inline void meet_inode(struct inode *inode, __u64 at_ns)
{
	__u32 dev = HOP(inode)->i_sb->s_dev, type = inode->i_mode & S_IFMT;
	struct met *met = met_slot(dev, inode->i_ino);

	if (!met || met->inode == mark_of(dev, inode->i_ino, inode->i_generation, 0))
		return;
	if ((type == S_IFREG || type == S_IFDIR) && !is_allocators(inode))
		name_met(0, address_of(inode), 0, at_ns);
}

#endif
