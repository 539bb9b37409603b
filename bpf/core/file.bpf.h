/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations on files, for system calls and the VFS. */
#ifndef IOSTRATA_FILE_H
#define IOSTRATA_FILE_H

/* Operation in flight. */
struct file_op {
	__u64 start_ns;
	__s64 offset_bytes;
	__s64 requested_bytes;
	__s64 ino;
	__u64 file_address; /* only compared */
	__s32 dev;
	__s32 open_flags;
	__u32 fd;
	__u8 op;
	__u8 fd_kind;
	__u8 appends : 1;
	/* A copy; its other file is in `targets`. */
	__u8 has_target : 1;
	/* On a stacked file system, which has its files on another one. */
	__u8 stacked : 1;
	/* Tracked but not recorded. */
	__u8 left_out : 1;
	/* Another operation with the same key may be in flight (aio). */
	__u8 again : 1;
	/* The file was looked up at the submission (io_uring). */
	__u8 knows_file : 1;
	/* At the position of its descriptor, and whether others move that position too. */
	__u8 by_position : 1;
	__u8 shares_position : 1;
	/* An earlier call of the thread was interrupted, and the kernel restarts it. */
	__u8 interrupted : 1;
	/* On /dev/fuse: the caller serves a file system. */
	__u8 serves : 1;
};

/* Initial state of a call, with nothing known. */
static const struct file_op no_call = { .offset_bytes = MISSING, .requested_bytes = MISSING, .ino = MISSING, .dev = -1, .open_flags = -1 };

static __always_inline bool is_internal(unsigned long sb_flags)
{
	return sb_flags & SB_NOUSER;
}

/*
 * Returns whether a file system stores nothing: its files are interfaces to the kernel. File systems that cannot be
 * mounted have a flag (init_pseudo() in fs/libfs.c): pipes, sockets, pidfs and future ones. The others have to be
 * listed.
 */
static __always_inline bool is_pseudo(unsigned long magic, bool is_internal)
{
	switch (magic) {
	case PROC_SUPER_MAGIC: case SYSFS_MAGIC: case CGROUP_SUPER_MAGIC: case CGROUP2_SUPER_MAGIC:
	case DEBUGFS_MAGIC: case TRACEFS_MAGIC: case SECURITYFS_MAGIC: case SELINUX_MAGIC: case SMACK_MAGIC: case AAFS_MAGIC:
	case CONFIGFS_MAGIC: case BPF_FS_MAGIC: case PSTOREFS_MAGIC: case EFIVARFS_MAGIC: case DEVPTS_SUPER_MAGIC:
	case PIPEFS_MAGIC: case SOCKFS_MAGIC: case ANON_INODE_FS_MAGIC: case NSFS_MAGIC: case BINFMTFS_MAGIC: case PID_FS_MAGIC:
	case MQUEUE_MAGIC: case NFSD_MAGIC: case FUSE_CTL_MAGIC: case RDTGROUP_SUPER_MAGIC: case XENFS_SUPER_MAGIC:
		return true;
	}
	return is_internal && !is_in_memory(magic);
}

/* Returns whether a file system with this magic number is stacked: it has its files on another one. */
static __always_inline bool is_stacked(unsigned long magic)
{
	return magic == OVERLAYFS_SUPER_MAGIC || magic == ECRYPTFS_SUPER_MAGIC;
}

/* Facts about a file. */
struct file_facts {
	unsigned long magic;
	unsigned long ino;
	__u32 dev;
	__u32 device;
	__u32 flags;
	__u32 generation;
	__u32 name_hash;
	__u16 type;
	/* SB_NOUSER: its file system cannot be mounted. */
	__u8 is_internal;
};

static __always_inline struct file_facts look_at(struct file *file)
{
	struct file_facts facts;
	struct super_block *sb;
	struct inode *inode;

	if (bpf_ksym_exists(bpf_rdonly_cast)) {
		struct file *typed = bpf_rdonly_cast(file, bpf_core_type_id_kernel(struct file));

		inode = typed->f_inode;
		sb = inode->i_sb;
		facts = (struct file_facts){ sb->s_magic, inode->i_ino, sb->s_dev, inode->i_rdev, typed->f_flags,
					     inode->i_generation, typed->f_path.dentry->d_name.hash, inode->i_mode & S_IFMT,
					     is_internal(sb->s_flags) };
	} else {
		inode = BPF_CORE_READ(file, f_inode);
		sb = BPF_CORE_READ(inode, i_sb);
		facts.magic = BPF_CORE_READ(sb, s_magic);
		facts.is_internal = is_internal(BPF_CORE_READ(sb, s_flags));
		facts.ino = BPF_CORE_READ(inode, i_ino);
		facts.dev = BPF_CORE_READ(sb, s_dev);
		facts.device = BPF_CORE_READ(inode, i_rdev);
		facts.flags = BPF_CORE_READ(file, f_flags);
		facts.generation = BPF_CORE_READ(inode, i_generation);
		facts.name_hash = BPF_CORE_READ(file, f_path.dentry, d_name.hash);
		facts.type = BPF_CORE_READ(inode, i_mode) & S_IFMT;
	}
	return facts;
}

/* Fills in the file; `fd_kind` is FD_UNKNOWN if the file is not recorded. */
static __always_inline void fill_file(struct file_op *op, struct file *file, struct file_facts *facts)
{
	op->file_address = (__u64)file;
	op->fd_kind = kind_of(facts->type, facts->magic);
	if (op->fd_kind != FD_BLOCK && is_pseudo(facts->magic, facts->is_internal))
		op->fd_kind = FD_UNKNOWN;
	if (op->fd_kind == FD_UNKNOWN)
		return;
	op->stacked = is_stacked(facts->magic);
	op->dev = op->fd_kind == FD_BLOCK ? facts->device : facts->dev;
	op->ino = facts->ino;
	op->open_flags = facts->flags;
}

/* Returns the file of a thread's descriptor. */
static __always_inline struct file *file_of_thread(struct task_struct *task, __u32 fd)
{
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **slots, *file = 0;

	if (!table || fd >= BPF_CORE_READ(table, max_fds))
		return 0;
	slots = BPF_CORE_READ(table, fd);
	bpf_probe_read_kernel(&file, sizeof(file), slots + fd);
	return file;
}

/* Returns the file of the current thread's descriptor. */
static __always_inline struct file *file_of_fd(__u32 fd)
{
	struct file *file = 0;
	struct fdtable *table;

	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf))
		return file_of_thread((struct task_struct *)bpf_get_current_task(), fd);
	table = HOP(bpf_get_current_task_btf())->files->fdt;
	if (fd < table->max_fds)
		bpf_probe_read_kernel(&file, sizeof(file), table->fd + fd);
	return file;
}

/*
 * Key: a process that reads or writes /dev/fuse, by its ID and start time; value: unused. Written by meet_server(),
 * read by user space at the stop. File operations of such a process serve calls on its file system, and are not added
 * to these. Full: the bytes of a further process are counted twice.
 */
struct server {
	__u64 start_ns;
	__u64 pid;
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, 1); /* BPF_F_NO_PREALLOC: few machines have any */
	__type(key, struct server);
	__type(value, __u8);
} servers SEC(".maps");

static __always_inline void meet_server(void)
{
	struct server server = { told_of_current().start_ns, bpf_get_current_pid_tgid() >> 32 };
	__u8 met = 1;

	if (!bpf_map_lookup_elem(&servers, &server))
		bpf_map_update_elem(&servers, &server, &met, BPF_ANY);
}

/* Directories matter only if they are synced. */
static __always_inline bool kind_wanted(__u8 op, __u8 kind)
{
	if (kind == FD_DIRECTORY)
		return op == OP_FSYNC || op == OP_FDATASYNC || op == OP_SYNCFS || op == OP_AIO_FSYNC || op == OP_URING_FSYNC;
	return kind != FD_UNKNOWN;
}

/* Interest in a file: not recorded, recorded and recently seen, recorded and not recently seen. */
enum interest { UNWANTED, KNOWN, UNMET };

/* Fills in the file. Returns whether it is recorded and, if so, whether its record may have to be emitted. */
static __always_inline enum interest look_into(struct file_op *op, struct file *file)
{
	struct file_facts facts;
	struct met *met;

	if (!file)
		return UNWANTED;
	facts = look_at(file);
	fill_file(op, file, &facts);
	op->serves = facts.type == S_IFCHR && facts.device == FUSE_DEVICE;
	if (!kind_wanted(op->op, op->fd_kind) || !device_wanted(op->dev))
		return UNWANTED;
	if (config.filter_device && op->fd_kind == FD_MEMORY)
		return UNWANTED;
	met = met_slot(op->dev, op->ino);
	return met && met->file != mark_of(op->dev, op->ino, facts.generation, facts.name_hash) ? UNMET : KNOWN;
}

/* Fills in the file, and emits its record; false if the file is not recorded. `pid`: as in name_met(). */
static __always_inline bool fill_wanted(struct file_op *op, struct file *file, __u32 pid)
{
	enum interest interest = look_into(op, file);

	/* Also for a directory that is opened: operations on its entries are not recorded, but make the file system write. */
	if (follows_use() && op->fd_kind != FD_UNKNOWN && !is_used(op->dev))
		use_inode((__u64)BPF_CORE_READ(file, f_inode));
	if (interest == UNMET)
		name_met(address_of(file), 0, pid, op->start_ns);
	return interest != UNWANTED;
}

/* Returns the file of a descriptor, filled in; NULL if the file is not recorded. */
static __always_inline struct file *fill_descriptor(struct file_op *op, __u32 fd)
{
	struct file *file = file_of_fd(fd);

	op->fd = fd;
	if (fill_wanted(op, file, 0))
		return file;
	/* The current task is the caller. */
	if (op->serves)
		meet_server();
	return 0;
}

/* `who`: thread that began the operation; NULL: the current task. */
static __always_inline void fill_file_event(struct file_event *event, struct file_op *op, struct identity *who, __u16 event_class,
					    __s64 ret, __u64 now_ns)
{
	fill_head(&event->head, event_class, op->op, op->fd_kind, op->start_ns);
	if (who)
		event->who = *who;
	else
		identify_current(&event->who);
	event->duration_ns = now_ns - op->start_ns;
	event->offset_bytes = op->offset_bytes;
	event->requested_bytes = op->requested_bytes;
	event->ret = ret;
	event->ino = op->ino;
	event->dev = op->dev;
	event->open_flags = op->open_flags;
}

/* Emits the record of an operation that ended at `now_ns`, for the thread that began it. */
static __always_inline void emit_file_event_at(struct file_op *op, struct identity *who, __u16 event_class, __s64 ret,
					       __u64 now_ns)
{
	struct file_event *event;
	void *ring = ring_of_this_cpu(event_class);

	if (!ring)
		return;
	event = reserve_event(ring, event_class, sizeof(*event), op->op, ret);
	if (!event)
		return;
	fill_file_event(event, op, who, event_class, ret, now_ns);
	submit_event(event, sizeof(*event));
}

/* The same for an operation that ends now. */
static __always_inline void emit_file_event_of(struct file_op *op, struct identity *who, __u16 event_class, __s64 ret)
{
	emit_file_event_at(op, who, event_class, ret, bpf_ktime_get_ns());
}

static __always_inline void emit_file_event(struct file_op *op, __u16 event_class, __s64 ret)
{
	emit_file_event_of(op, 0, event_class, ret);
}

/* Counts an operation that was seen and is lost. Returns the account, for the cause. */
static __always_inline struct account *lose_seen(struct file_op *op, __u32 event_class)
{
	struct account *account = account_of(event_class);

	if (account) {
		account->seen++;
		add_io(&account->lost_io, op->op, op->requested_bytes);
	}
	return account;
}

/* Counts an operation as lost that cannot be tracked for lack of space. */
static __always_inline void lose_file_op(struct file_op *op, __u32 event_class)
{
	struct account *account = lose_seen(op, event_class);

	if (account)
		account->inflight_full++;
}

/* Key: enum unseen_kind; value: calls without a row. Written by count_unseen(). */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, UNSEEN_COUNT);
	__type(key, __u32);
	__type(value, struct unseen_calls);
} unseen SEC(".maps");

/* Counts calls of one kind, with upper bounds of their I/O. */
static __always_inline void count_unseen(__u32 kind, __u64 ops, __u64 read_ops, __u64 read_bytes, __u64 write_ops, __u64 write_bytes)
{
	struct unseen_calls *calls = bpf_map_lookup_elem(&unseen, &kind);
	struct account *account = account_of(CLASS_SYSCALL);

	if (!calls || !account)
		return;
	account->seen += ops;
	account->unseen_end += ops;
	account->lost_io.read_ops += read_ops;
	account->lost_io.read_bytes += read_bytes;
	account->lost_io.write_ops += write_ops;
	account->lost_io.write_bytes += write_bytes;
	calls->ops += ops;
	calls->read_ops += read_ops;
	calls->read_bytes += read_bytes;
	calls->write_ops += write_ops;
	calls->write_bytes += write_bytes;
}

/*
 * Counts a call that has no row, because no event reports its end. `kind`: the reason. `bytes`: the upper bound of what
 * it moved.
 */
static __always_inline void lose_unseen_bytes(__u8 op, __s64 bytes, __u32 kind)
{
	bool in = moves_of(op) == MOVES_IN, out = moves_of(op) == MOVES_OUT;

	count_unseen(kind, 1, in, in ? bytes : 0, out, out ? bytes : 0);
}

static __always_inline void lose_unseen(struct file_op *op, __u32 kind)
{
	lose_unseen_bytes(op->op, at_most(op->requested_bytes), kind);
}

/* Counts aio operations of unknown direction. */
static __always_inline void lose_unknown_aio(__u64 ops, __u32 kind)
{
	count_unseen(kind, ops, ops, ops * MOST_BYTES, ops, ops * MOST_BYTES);
}

enum { MAX_VECTORS = 64 };

/* Returns the requested bytes; MISSING if the capture has no number for them: no call of that size is executed. */
static __always_inline __s64 asked_for(__u64 bytes)
{
	return (__s64)bytes < 0 ? MISSING : bytes;
}

/* Returns the sum of an iovec array; MISSING if it has more than MAX_VECTORS elements or cannot be read. */
static __always_inline __s64 vector_bytes(struct iovec *vector, unsigned long count)
{
	__s64 sum = 0;

	if (count > MAX_VECTORS)
		return MISSING;
	for (int i = 0; i < MAX_VECTORS; i++) {
		unsigned long length;

		if (i >= count)
			break;
		/* Checked one by one: the sum of two lengths that the kernel refuses could pass for a valid one. */
		if (bpf_probe_read_user(&length, sizeof(length), &vector[i].iov_len) || (__s64)length < 0 || sum > MOST_BYTES)
			return MISSING;
		sum += length;
	}
	return sum;
}

#endif
