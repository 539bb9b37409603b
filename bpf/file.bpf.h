/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations on files, as the system call and the VFS groups see them. */
#ifndef IOSTRATA_FILE_H
#define IOSTRATA_FILE_H

/* An operation under way. */
struct file_op {
	__u64 start_ns;
	__s64 offset_bytes;
	__s64 requested_bytes;
	__s64 ino;
	struct file *file; /* only compared */
	__s32 dev;
	__s32 open_flags;
	__u8 op;
	__u8 fd_kind;
	__u8 appends;
	__u8 reserved;
	__u32 fd;
};

/* Whether a file system with this magic stores nothing: its files are doors into the kernel. */
static __always_inline bool is_pseudo(unsigned long magic)
{
	switch (magic) {
	case PROC_SUPER_MAGIC: case SYSFS_MAGIC: case CGROUP_SUPER_MAGIC: case CGROUP2_SUPER_MAGIC:
	case DEBUGFS_MAGIC: case TRACEFS_MAGIC: case SECURITYFS_MAGIC: case SELINUX_MAGIC: case CONFIGFS_MAGIC:
	case BPF_FS_MAGIC: case PSTOREFS_MAGIC: case EFIVARFS_MAGIC: case DEVPTS_SUPER_MAGIC: case PIPEFS_MAGIC:
	case SOCKFS_MAGIC: case ANON_INODE_FS_MAGIC: case NSFS_MAGIC: case BINFMTFS_MAGIC:
		return true;
	}
	return false;
}

/* Fills in what the file is; FD_UNKNOWN when it is none that is recorded. */
static __always_inline void fill_file(struct file_op *op, struct file *file)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	struct super_block *sb = BPF_CORE_READ(inode, i_sb);
	__u16 type = BPF_CORE_READ(inode, i_mode) & S_IFMT;
	unsigned long magic;

	op->file = file;
	op->fd_kind = FD_UNKNOWN;
	if (type == S_IFBLK) {
		op->fd_kind = FD_BLOCK;
		op->dev = BPF_CORE_READ(inode, i_rdev);
	} else if (type == S_IFREG || type == S_IFDIR) {
		magic = BPF_CORE_READ(sb, s_magic);
		if (is_pseudo(magic))
			return;
		op->fd_kind = type == S_IFDIR ? FD_DIRECTORY : FD_REGULAR;
		if (magic == TMPFS_MAGIC || magic == RAMFS_MAGIC || magic == HUGETLBFS_MAGIC)
			op->fd_kind = FD_MEMORY;
		op->dev = BPF_CORE_READ(sb, s_dev);
	} else {
		return;
	}
	op->ino = BPF_CORE_READ(inode, i_ino);
	op->open_flags = BPF_CORE_READ(file, f_flags);
}

static __always_inline struct file *file_of_fd(__u32 fd)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **slots, *file = 0;

	if (fd >= BPF_CORE_READ(table, max_fds))
		return 0;
	slots = BPF_CORE_READ(table, fd);
	bpf_probe_read_kernel(&file, sizeof(file), slots + fd);
	return file;
}

/* The record of a finished operation. */
static __always_inline void emit_file_event(struct file_op *op, __u16 event_class, __s64 ret)
{
	__u64 now_ns = bpf_ktime_get_ns();
	struct file_event *event;
	void *ring = ring_of_this_cpu();

	if (!ring)
		return;
	event = reserve_event(ring, event_class, sizeof(*event), op->op, ret);
	if (!event)
		return;
	fill_head(&event->head, event_class, op->op, op->fd_kind, op->start_ns);
	identify_current(&event->who);
	event->duration_ns = now_ns - op->start_ns;
	event->offset_bytes = op->offset_bytes;
	event->requested_bytes = op->requested_bytes;
	event->ret = ret;
	event->ino = op->ino;
	event->dev = op->dev;
	event->open_flags = op->open_flags;
	submit_event(event, sizeof(*event));
}

/* An operation that cannot be followed for want of room: seen and lost. */
static __always_inline void lose_file_op(struct file_op *op, __u32 event_class)
{
	struct account *account = account_of(event_class);

	if (!account)
		return;
	account->seen++;
	account->inflight_full++;
	count_lost_io(account, op->op, op->requested_bytes);
}

enum { MAX_VECTORS = 64 };

/* The sum of an iovec array, MISSING when it is longer than is added up here or cannot be read. */
static __always_inline __s64 vector_bytes(struct iovec *vector, unsigned long count)
{
	__s64 sum = 0;

	if (count > MAX_VECTORS)
		return MISSING;
	for (int i = 0; i < MAX_VECTORS; i++) {
		unsigned long length;

		if (i >= count)
			break;
		if (bpf_probe_read_user(&length, sizeof(length), &vector[i].iov_len))
			return MISSING;
		sum += length;
	}
	return sum;
}

#endif
