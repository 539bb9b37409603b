/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Filters by device and by owner (process tree, cgroup, command name). An owner filter selects processes. Requests
 * without an owning process (journal, metadata, flushes, data with an unknown owner) are part of the totals like those
 * of the selected processes, so they are recorded as well: on the disks of a device filter, otherwise on the disks that
 * the selected processes use.
 */
#ifndef IOSTRATA_FILTER_H
#define IOSTRATA_FILTER_H

/*
 * Key: process ID; value: its start time. Processes of the recorded trees. Written by user space, at fork and at exec.
 * Full: the process is not recorded, and counted as lost in the class `process`.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, 1); /* BPF_F_NO_PREALLOC: mostly empty, and written at fork only */
	__type(key, __u32);
	__type(value, __u64);
} tree SEC(".maps");

/*
 * Key: kernel device number of a disk, a partition or a file system; value: enum device_use. Written by user space,
 * which adds file systems that are mounted later.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, 1); /* BPF_F_NO_PREALLOC */
	__type(key, __u32);
	__type(value, __u32);
} devices SEC(".maps");

/*
 * Key: kernel device number of a file system or a disk; value: the disks below it that the kernel side cannot see
 * (btrfs; members of dm and md devices). Written by user space.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, 1); /* BPF_F_NO_PREALLOC */
	__type(key, __u32);
	__type(value, struct lower_disks);
} stands_on SEC(".maps");

/*
 * Key: kernel device number of a disk or a file system; value: time since which the selected processes use it. Written
 * by mark_used(). Empty unless there is an owner filter and no device filter. Full: requests without an owner are
 * excluded on further disks, which user space reports.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_USED_DEVICES);
	__uint(map_flags, 1); /* BPF_F_NO_PREALLOC */
	__type(key, __u32);
	__type(value, __u64);
} used_devices SEC(".maps");

/*
 * Key: kernel device number of the disk; value: I/O that an owner filter excludes. Written by count_left_out(). Full:
 * excluded I/O of further disks is not counted.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct left_out_io);
} left_out SEC(".maps");

/* Returns whether a process belongs to a recorded tree. */
static __always_inline bool is_in_tree(__u32 pid)
{
	return bpf_map_lookup_elem(&tree, &pid);
}

/* Adds a process to the recorded trees; returns a nonzero value if there is no room. */
static __always_inline long join_tree(__u32 pid, __u64 start_ns)
{
	return bpf_map_update_elem(&tree, &pid, &start_ns, BPF_ANY);
}

/* Removes an ended process. Its ID may be that of a new one already, which has another start time. 0: the start time is unknown. */
static __always_inline void leave_tree(__u32 pid, __u64 start_ns)
{
	__u64 *joined_ns = bpf_map_lookup_elem(&tree, &pid);

	if (joined_ns && (*joined_ns == start_ns || !*joined_ns))
		bpf_map_delete_elem(&tree, &pid);
}

/* Returns whether the selected processes use a disk or a file system. */
static __always_inline bool is_used(__u32 dev)
{
	return bpf_map_lookup_elem(&used_devices, &dev);
}

static __always_inline bool by_owner(void)
{
	return config.filter_pid || config.filter_cgroup || config.filter_comm;
}

/* Returns whether the current task's I/O is recorded. */
static __always_inline bool owner_wanted(void)
{
	if (config.filter_pid) {
		__u32 pid = bpf_get_current_pid_tgid() >> 32;

		if (!is_in_tree(pid))
			return false;
	}
	if (config.filter_cgroup && bpf_get_current_ancestor_cgroup_id(config.cgroup_level) != config.cgroup_id)
		return false;
	return !config.filter_comm || current_is_called(config.comm);
}

/*
 * Returns whether operations on files of this device number are recorded. Those of a number that user space has not
 * classified yet (a file system that was mounted later) are: user space drops their records if the file system is not
 * on a selected disk.
 */
static __always_inline bool device_wanted(__u32 dev)
{
	__u32 *use;

	/* In most cases there is one device, and its number is the disk's. */
	if (!config.filter_device || dev == config.filter_device)
		return true;
	use = bpf_map_lookup_elem(&devices, &dev);
	return !use || *use != DEVICE_LEFT_OUT;
}

/* Returns whether requests of this disk are recorded. */
static __always_inline bool disk_wanted(__u32 dev)
{
	__u32 *use;

	if (!config.filter_device || dev == config.filter_device)
		return true;
	use = bpf_map_lookup_elem(&devices, &dev);
	return use && *use == DEVICE_IS_DISK;
}

/* Returns whether I/O without an owning process is recorded on this disk or file system. */
static __always_inline bool unowned_wanted(__u32 dev)
{
	if (!by_owner() || config.filter_device)
		return true;
	return is_used(dev);
}

static __always_inline bool follows_use(void)
{
	return by_owner() && !config.filter_device;
}

static __always_inline void mark_used(__u32 dev)
{
	__u64 now_ns;

	if (is_used(dev))
		return;
	now_ns = bpf_ktime_get_ns();
	/* Fails if another CPU was first, or if the map is full: user space detects that by the map's size. */
	bpf_map_update_elem(&used_devices, &dev, &now_ns, BPF_NOEXIST);
}

/* Marks a disk or file system, and the disks below it, as used by a selected process. Not inlined, because few are new. */
__noinline int use_device(__u32 dev)
{
	struct lower_disks *lower;

	mark_used(dev);
	lower = bpf_map_lookup_elem(&stands_on, &dev);
	if (!lower)
		return 0;
	for (int i = 0; i < MAX_LOWER_DISKS; i++) {
		if (!lower->disk[i])
			break;
		mark_used(lower->disk[i]);
	}
	return 0;
}

/* Marks the file system of an inode as used, by the inode's address. */
__noinline int use_inode(__u64 address)
{
	struct inode *inode = (struct inode *)address;
	struct super_block *super = BPF_CORE_READ(inode, i_sb);
	struct gendisk *disk;
	__u32 dev = BPF_CORE_READ(super, s_dev);

	if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) == S_IFBLK) {
		struct address_space *mapping = BPF_CORE_READ(inode, i_mapping);
		struct bdev_inode *container;

		mark_used(BPF_CORE_READ(inode, i_rdev));
		/* The inode of the device file and that of the device differ: pages belong to the latter. */
		inode = BPF_CORE_READ(mapping, host);
		container = (void *)inode - bpf_core_field_offset(struct bdev_inode, vfs_inode);
		disk = BPF_CORE_READ(container, bdev.bd_disk);
	} else {
		struct block_device *bdev = BPF_CORE_READ(super, s_bdev);

		use_device(dev);
		/* NULL for btrfs, which has several devices, and for file systems without a device. */
		disk = bdev ? BPF_CORE_READ(bdev, bd_disk) : 0;
	}
	if (disk)
		use_device((__u32)BPF_CORE_READ(disk, major) << 20 | BPF_CORE_READ(disk, first_minor));
	return 0;
}

/* Notes that a selected process accesses a file of device number `dev`. */
static __always_inline void note_use(__u32 dev, struct inode *inode)
{
	if (follows_use() && !is_used(dev))
		use_inode(address_of(inode));
}

/* Owner of a bio with respect to the owner filters: a selected process, another process, or none. */
enum claim { CLAIM_SELECTED, CLAIM_OTHERS, CLAIM_NOBODY };

/* Counts the I/O of a disk that an owner filter excludes. `op`: operation of the bio. */
static __always_inline void count_left_out(__u32 dev, enum claim claim, __u32 op, __u32 bytes)
{
	struct left_out_io none = {}, *sum = bpf_map_lookup_elem(&left_out, &dev);
	struct own_io *io;

	if (!sum) {
		bpf_map_update_elem(&left_out, &dev, &none, BPF_NOEXIST);
		sum = bpf_map_lookup_elem(&left_out, &dev);
		if (!sum)
			return;
	}
	io = claim == CLAIM_OTHERS ? &sum->others : &sum->before_use;
	if (op == REQ_OP_READ) {
		io->read_ops++;
		io->read_bytes += bytes;
	} else if (op == REQ_OP_DISCARD || op == REQ_OP_SECURE_ERASE) {
		io->discard_ops++;
		io->discard_bytes += bytes;
	} else {
		io->write_ops++;
		io->write_bytes += bytes;
	}
}

#endif
