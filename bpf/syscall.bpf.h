/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The application layer: I/O system calls on regular files and block devices, from entry to return. The file is looked
 * at on entry, because after the return another thread may have closed it; only open has to wait for the return.
 */
#ifndef IOSTRATA_SYSCALL_H
#define IOSTRATA_SYSCALL_H

/*
 * Key: thread id; value: its system call under way, `op` being OP_NONE between two. The entry stays for the thread's
 * life, which saves an insertion and a deletion for each call. Full: the call is counted as lost.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, __u32);
	__type(value, struct file_op);
} calls SEC(".maps");

/* Offset and bytes asked for, as each call has them in its arguments. */
static __always_inline void fill_arguments(struct file_op *op, struct file *file, struct pt_regs *regs)
{
	switch (op->op) {
	case OP_READ: case OP_WRITE:
		op->requested_bytes = regs->dx;
		op->offset_bytes = BPF_CORE_READ(file, f_pos);
		break;
	case OP_PREAD: case OP_PWRITE:
		op->requested_bytes = regs->dx;
		op->offset_bytes = regs->r10;
		break;
	case OP_READV: case OP_WRITEV:
		op->requested_bytes = vector_bytes((struct iovec *)regs->si, regs->dx);
		op->offset_bytes = BPF_CORE_READ(file, f_pos);
		break;
	case OP_PREADV: case OP_PWRITEV: case OP_PREADV2: case OP_PWRITEV2:
		op->requested_bytes = vector_bytes((struct iovec *)regs->si, regs->dx);
		op->offset_bytes = regs->r10;
		/* preadv2 and pwritev2: -1 means the file position. */
		if (op->offset_bytes == -1)
			op->offset_bytes = BPF_CORE_READ(file, f_pos);
		break;
	case OP_SYNC_FILE_RANGE:
		op->offset_bytes = regs->si;
		op->requested_bytes = regs->dx;
		break;
	}
}

/* Directories are of interest only where they are synced. */
static __always_inline bool kind_wanted(__u8 op, __u8 kind)
{
	if (kind == FD_DIRECTORY)
		return op == OP_FSYNC || op == OP_FDATASYNC || op == OP_SYNCFS;
	return kind != FD_UNKNOWN;
}

static __always_inline bool is_open(__u8 op)
{
	return op == OP_OPEN || op == OP_OPENAT || op == OP_OPENAT2;
}

static __always_inline bool is_write(__u8 op)
{
	return op == OP_WRITE || op == OP_PWRITE || op == OP_WRITEV || op == OP_PWRITEV || op == OP_PWRITEV2;
}

SEC("?tp_btf/sys_enter")
int BPF_PROG(iostrata_sys_enter, struct pt_regs *regs, long number)
{
	struct file_op op = { .offset_bytes = MISSING, .requested_bytes = MISSING, .ino = MISSING, .dev = -1, .open_flags = -1 };
	struct task_struct *task;
	struct file_op *known;
	__u32 tid;

	if ((unsigned long)number >= sizeof(config.syscall_op))
		return 0;
	op.op = config.syscall_op[number];
	if (op.op == OP_NONE || is_recorder() || !owner_wanted())
		return 0;
	task = (void *)bpf_get_current_task();
	if (BPF_CORE_READ(task, thread_info.status) & TS_COMPAT) {
		struct account *account = account_of(CLASS_SYSCALL);

		/* The number means another call in the 32-bit table. */
		if (account)
			account->compat++;
		return 0;
	}
	if (!is_open(op.op) && op.op != OP_SYNC) {
		struct file *file = file_of_fd(regs->di);

		if (!file)
			return 0;
		fill_file(&op, file);
		if (!kind_wanted(op.op, op.fd_kind) || !device_wanted(op.dev))
			return 0;
		op.fd = regs->di;
		op.appends = is_write(op.op) && (op.open_flags & O_APPEND);
		fill_arguments(&op, file, regs);
	}
	/* Of an open it is not known yet whether it is of interest. */
	if (!is_open(op.op))
		tell_current(0);
	op.start_ns = bpf_ktime_get_ns();
	tid = bpf_get_current_pid_tgid();
	known = bpf_map_lookup_elem(&calls, &tid);
	if (known)
		*known = op;
	else if (bpf_map_update_elem(&calls, &tid, &op, BPF_ANY))
		lose_file_op(&op, CLASS_SYSCALL);
	return 0;
}

/* An open is known by what it opened. One that failed has no device, so a device filter leaves it out. */
static __always_inline bool fill_opened(struct file_op *op, long ret)
{
	struct file *file;

	if (ret < 0)
		return !config.filter_device;
	file = file_of_fd(ret);
	if (!file)
		return false;
	fill_file(op, file);
	return kind_wanted(op->op, op->fd_kind) && device_wanted(op->dev);
}

/* An append begins where the file ended, which only the position after it tells. */
static __always_inline void fill_append_offset(struct file_op *op, long ret)
{
	struct file *file = file_of_fd(op->fd);

	op->offset_bytes = MISSING;
	if (ret > 0 && file == op->file && op->op != OP_PWRITE && op->op != OP_PWRITEV && op->op != OP_PWRITEV2)
		op->offset_bytes = BPF_CORE_READ(file, f_pos) - ret;
}

SEC("?tp_btf/sys_exit")
int BPF_PROG(iostrata_sys_exit, struct pt_regs *regs, long ret)
{
	unsigned long number = regs->orig_ax;
	struct file_op *op;
	__u32 tid;

	if (number >= sizeof(config.syscall_op) || config.syscall_op[number] == OP_NONE)
		return 0;
	tid = bpf_get_current_pid_tgid();
	op = bpf_map_lookup_elem(&calls, &tid);
	if (!op || op->op == OP_NONE)
		return 0;
	if (op->appends)
		fill_append_offset(op, ret);
	if (is_open(op->op)) {
		if (!fill_opened(op, ret))
			goto out;
		tell_current(op->start_ns);
	}
	emit_file_event(op, CLASS_SYSCALL, ret);
out:
	op->op = OP_NONE;
	return 0;
}

SEC("?tp_btf/sched_process_exit")
int BPF_PROG(iostrata_exit, struct task_struct *task)
{
	__u32 tid = task->pid;

	bpf_map_delete_elem(&calls, &tid);
	return 0;
}

#endif
