/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System call layer: I/O system calls on regular files and block devices, from entry to return. The file is looked up
 * on entry, because another thread may have closed it by the return; only open has to wait for the return.
 */
#ifndef IOSTRATA_SYSCALL_H
#define IOSTRATA_SYSCALL_H

#include "syscall/calls.bpf.h"
#include "syscall/earlier.bpf.h"
#include "syscall/inflight.bpf.h"
#include "syscall/aio.bpf.h"
#include "syscall/uring.bpf.h"

/*
 * Returns whether others than this thread may move the position of a file: threads that share its descriptor, processes
 * that share its open file description.
 */
static __always_inline bool has_sharers(struct file *file)
{
	int tables;

	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf))
		tables = HOP(bpf_get_current_task_btf())->files->count.counter;
	else
		tables = BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), files, count.counter);
	if (tables > 1)
		return true;
	if (bpf_core_field_exists(file->f_ref))
		return BPF_CORE_READ(file, f_ref.refcnt.counter) > 0;
	return BPF_CORE_READ((struct file___6_12 *)file, f_count.counter) > 1;
}

/* Returns the offset of a call at the file position, as far as it is known before the call. settle_place() checks it again. */
static __always_inline __s64 place_by_position(struct file_op *op, struct file *file)
{
	op->by_position = 1;
	op->shares_position = has_sharers(file);
	return op->appends ? BPF_CORE_READ(file, f_inode, i_size) : BPF_CORE_READ(file, f_pos);
}

/*
 * After a call at the file position or an append: the position is now at the end of its I/O. If others may have moved
 * it meanwhile, it has to agree with what was seen before; otherwise the offset is unknown.
 */
static __always_inline void settle_place(struct file_op *op, long ret)
{
	__s64 moved = ret > 0 ? ret : 0, now;
	struct file *file;

	if (!op->appends && !op->shares_position)
		return;
	file = op->by_position ? file_of_fd(op->fd) : 0;
	if (!file || (__u64)file != op->file_address || (op->appends && !moved)) {
		op->offset_bytes = MISSING;
		return;
	}
	now = BPF_CORE_READ(file, f_pos);
	if (!op->shares_position)
		op->offset_bytes = now - moved;
	else if (op->offset_bytes + moved != now)
		op->offset_bytes = MISSING;
}

/* Fills in the offset and the requested bytes from the arguments of the call. */
static __always_inline void fill_arguments(struct file_op *op, struct file *file, struct pt_regs *regs)
{
	switch (op->op) {
	case OP_READ: case OP_WRITE:
		op->requested_bytes = asked_for(regs->dx);
		op->offset_bytes = place_by_position(op, file);
		break;
	case OP_PREAD: case OP_PWRITE:
		op->requested_bytes = asked_for(regs->dx);
		op->offset_bytes = regs->r10;
		break;
	case OP_READV: case OP_WRITEV:
		op->requested_bytes = vector_bytes((struct iovec *)regs->si, regs->dx);
		op->offset_bytes = place_by_position(op, file);
		break;
	case OP_PREADV: case OP_PWRITEV: case OP_PREADV2: case OP_PWRITEV2:
		op->requested_bytes = vector_bytes((struct iovec *)regs->si, regs->dx);
		op->offset_bytes = regs->r10;
		/* preadv2 and pwritev2: -1 means the file position. */
		if (op->offset_bytes == -1)
			op->offset_bytes = place_by_position(op, file);
		break;
	case OP_SYNC_FILE_RANGE:
		op->offset_bytes = regs->si;
		op->requested_bytes = regs->dx;
		break;
	case OP_FALLOCATE:
		op->offset_bytes = regs->dx;
		op->requested_bytes = regs->r10;
		break;
	case OP_FTRUNCATE:
		op->offset_bytes = regs->si;
		break;
	}
}

static __always_inline bool is_open(__u8 op)
{
	return op == OP_OPEN || op == OP_OPENAT || op == OP_OPENAT2 || op == OP_CREAT || op == OP_OPEN_BY_HANDLE_AT;
}

static __always_inline bool is_write(__u8 op)
{
	return op == OP_WRITE || op == OP_PWRITE || op == OP_WRITEV || op == OP_PWRITEV || op == OP_PWRITEV2;
}

/* Returns whether a call names its file by its path or not at all: the device is unknown here. */
static __always_inline bool is_without_file(__u8 op)
{
	switch (op) {
	case OP_SYNC: case OP_TRUNCATE: case OP_UNLINK: case OP_UNLINKAT: case OP_RENAME: case OP_RENAMEAT:
	case OP_RENAMEAT2: case OP_MSYNC:
		return true;
	}
	return false;
}

/* Copy from one descriptor to another: either or both may be files. */
struct copy {
	__u8 out_op;
	__u32 in_fd;
	__u32 out_fd;
	/* Addresses of the offsets in user space; NULL: the file position. */
	__s64 *in_offset;
	__s64 *out_offset;
	__u64 bytes;
};

/* Finds the descriptors that a call copies between, by its first arguments. Returns whether it copies. */
static __always_inline bool find_copied(__u8 op, __u64 first, __u64 second, __u64 third, struct copy *copy)
{
	switch (op) {
	case OP_SENDFILE_IN:
		copy->out_op = OP_SENDFILE_OUT;
		copy->out_fd = first;
		copy->in_fd = second;
		return true;
	case OP_COPY_FILE_RANGE_IN: case OP_SPLICE_IN:
		copy->out_op = op == OP_SPLICE_IN ? OP_SPLICE_OUT : OP_COPY_FILE_RANGE_OUT;
		copy->in_fd = first;
		copy->out_fd = third;
		return true;
	}
	return false;
}

static __always_inline bool find_copy(__u8 op, struct pt_regs *regs, struct copy *copy)
{
	if (!find_copied(op, regs->di, regs->si, regs->dx, copy))
		return false;
	if (op == OP_SENDFILE_IN) {
		copy->in_offset = (__s64 *)regs->dx;
		copy->bytes = regs->r10;
	} else {
		copy->in_offset = (__s64 *)regs->si;
		copy->out_offset = (__s64 *)regs->r10;
		copy->bytes = regs->r8;
	}
	return true;
}

/* Fills in one file of a copy; false if it is not recorded. */
static __always_inline bool fill_side(struct file_op *op, __u32 fd, __s64 *offset, __u64 bytes)
{
	struct file *file = fill_descriptor(op, fd);

	if (!file)
		return false;
	op->requested_bytes = asked_for(bytes);
	if (!offset)
		op->offset_bytes = place_by_position(op, file);
	else if (bpf_probe_read_user(&op->offset_bytes, sizeof(op->offset_bytes), offset))
		op->offset_bytes = MISSING;
	return true;
}

/* Fills in both files of a copy, if they are recorded: the first of them is the call's own; false if there is none. */
static __always_inline bool fill_copy(struct file_op *op, struct copy *copy)
{
	bool has_target, left_out = op->left_out;
	__u32 tid = bpf_get_current_pid_tgid();
	struct file_op *target;
	__u8 in_op = op->op;

	/* One after the other in the same variable: two do not fit on the stack on older kernels. */
	op->op = copy->out_op;
	has_target = fill_side(op, copy->out_fd, copy->out_offset, copy->bytes);
	if (has_target && bpf_map_update_elem(&targets, &tid, op, BPF_ANY)) {
		has_target = false;
		if (!left_out)
			lose_file_op(op, CLASS_SYSCALL);
	}
	*op = no_call;
	op->op = in_op;
	op->left_out = left_out;
	if (fill_side(op, copy->in_fd, copy->in_offset, copy->bytes)) {
		op->has_target = has_target;
		return true;
	}
	target = has_target ? bpf_map_lookup_elem(&targets, &tid) : 0;
	if (!target)
		return false;
	*op = *target;
	bpf_map_delete_elem(&targets, &tid);
	return true;
}

/* Fills in the file of a descriptor and the arguments of the call; false if the file is not recorded. */
static __always_inline bool fill_call(struct file_op *op, struct pt_regs *regs)
{
	struct file *file = fill_descriptor(op, regs->di);

	if (!file)
		return false;
	op->appends = is_write(op->op) &&
		      (op->open_flags & O_APPEND || (op->op == OP_PWRITEV2 && regs->r9 & RWF_APPEND));
	fill_arguments(op, file, regs);
	return true;
}

/* Returns whether the call is of the 32-bit table, in which the number means another call. */
static __always_inline bool is_compat(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf))
		return bpf_get_current_task_btf()->thread_info.status & TS_COMPAT;
	return BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), thread_info.status) & TS_COMPAT;
}

static __always_inline void count_call_begun(void)
{
	struct account *account = account_of(CLASS_SYSCALL);

	if (account)
		account->calls_begun++;
}

static __always_inline void count_call_ended(void)
{
	struct account *account = account_of(CLASS_SYSCALL);

	if (account)
		account->calls_ended++;
}

/* Begins a call of the current task that may be recorded. Returns whether it is tracked. */
static __always_inline bool call_begins(struct pt_regs *regs, long number, __u8 op_code, bool left_out)
{
	struct file_op op = no_call;
	struct file_op *known;
	struct copy copy = {};
	__u32 tid;

	op.op = op_code;
	op.left_out = left_out;
	if (op.left_out && !config.follows_calls)
		return false;
	if (find_copy(op.op, regs, &copy)) {
		if (!fill_copy(&op, &copy))
			return false;
	} else if (is_without_file(op.op)) {
		if (config.filter_device && op.op != OP_SYNC)
			return false;
	} else if (!is_open(op.op) && !fill_call(&op, regs)) {
		return false;
	}
	/* For an open it is not known yet whether the file is recorded. */
	if (!is_open(op.op) && !op.left_out)
		tell_current(0);
	op.start_ns = bpf_ktime_get_ns();
	tid = bpf_get_current_pid_tgid();
	if (!op.left_out)
		begin_cpu_wait(tid, op.start_ns);
	known = bpf_map_lookup_elem(&calls, &tid);
	if (known && known->interrupted)
		take_up_call(&op, regs, number);
	if (known) {
		*known = op;
	} else if (bpf_map_update_elem(&calls, &tid, &op, BPF_ANY)) {
		if (!op.left_out)
			lose_file_op(&op, CLASS_SYSCALL);
		return false;
	}
	count_call_begun();
	return true;
}

/* sys_enter: begins tracking a call, and the operations of io_submit(). */
SEC("?tp_btf/sys_enter")
int TIMED_PROG(iostrata_sys_enter, struct pt_regs *regs, long number)
{
	bool left_out;
	__u8 op;

	if (!makes_rows() || (unsigned long)number >= sizeof(config.syscall_op))
		return 0;
	op = config.syscall_op[number];
	if ((op == OP_NONE && number != NR_IO_SUBMIT) || is_recorder())
		return 0;
	if (!owner_wanted() || is_compat()) {
		know_caller(bpf_get_current_pid_tgid());
		return 0;
	}
	left_out = !samples_this_moment();
	if (number == NR_IO_SUBMIT)
		aio_submitted(regs->di, regs->si, regs->dx, left_out);
	else if (!call_begins(regs, number, op, left_out))
		know_caller(bpf_get_current_pid_tgid());
	return 0;
}

/* Fills in the file that an open returns. A failed open has no device, so a device filter excludes it. */
static __always_inline bool fill_opened(struct file_op *op, long ret)
{
	if (ret < 0)
		return !config.filter_device;
	return fill_descriptor(op, ret);
}

/* Emits the record of the other file of a copy. */
static __always_inline void emit_target(__u32 tid, struct file_op *source, __s64 ret, __s64 runnable_ns)
{
	struct file_op *target = bpf_map_lookup_elem(&targets, &tid);

	if (!target)
		return;
	target->start_ns = source->start_ns;
	settle_place(target, ret);
	emit_call(target, ret, runnable_ns);
	bpf_map_delete_elem(&targets, &tid);
}

/* Counts one file of a call of a 32-bit program: the bytes that it moved have no row. */
static __always_inline void lose_compat(__u8 op_code, __u32 fd, long ret)
{
	struct file_op op = { .op = op_code };

	if (look_into(&op, file_of_fd(fd)) != UNWANTED)
		lose_unseen_bytes(op_code, ret > 0 ? ret : 0, UNSEEN_COMPAT);
}

/*
 * Counts a call of the 32-bit table, with the bytes that it moved. The table has other numbers, arguments in other
 * registers (arch/x86/entry/entry_64_compat.S) and other structures, and its calls are not recorded.
 */
static __always_inline void compat_returned(unsigned long number, struct pt_regs *regs, long ret)
{
	__u8 op = config.compat_op[number];

	if (is_recorder() || !owner_wanted() || !samples_this_moment())
		return;
	if (op == OP_AIO_READ) {
		if (ret > 0)
			lose_unknown_aio(ret, UNSEEN_COMPAT);
	} else if (op == OP_SENDFILE_IN) {
		lose_compat(OP_SENDFILE_IN, regs->cx, ret);
		lose_compat(OP_SENDFILE_OUT, regs->bx, ret);
	} else if (op == OP_COPY_FILE_RANGE_IN || op == OP_SPLICE_IN) {
		lose_compat(op, regs->bx, ret);
		lose_compat(op == OP_SPLICE_IN ? OP_SPLICE_OUT : OP_COPY_FILE_RANGE_OUT, regs->dx, ret);
	} else if (is_open(op) && ret >= 0) {
		lose_compat(op, ret, 0);
	} else if (is_open(op) || is_without_file(op)) {
		/* The device is unknown here. */
		if (!config.filter_device)
			lose_unseen_bytes(op, 0, UNSEEN_COMPAT);
	} else {
		lose_compat(op, regs->bx, ret);
	}
}

/* Handles the end of a call with an untracked start. */
static __always_inline void unknown_returned(__u8 op, struct pt_regs *regs, long ret)
{
	struct copy copy = {};

	if (ret <= 0 || is_known_caller(bpf_get_current_pid_tgid()) || !may_be_earlier())
		return;
	if (find_copied(op, regs->di, regs->si, regs->dx, &copy)) {
		count_earlier(op, copy.in_fd, ret);
		count_earlier(copy.out_op, copy.out_fd, ret);
	} else {
		count_earlier(op, regs->di, ret);
	}
}

/* sys_exit: emits the record of a call. Ends aio operations at io_getevents(). */
SEC("?tp_btf/sys_exit")
int TIMED_PROG(iostrata_sys_exit, struct pt_regs *regs, long ret)
{
	unsigned long number = regs->orig_ax;
	struct file_op *op;
	__s64 runnable_ns;
	__u32 tid;

	if (!makes_rows())
		return 0;
	if (number < sizeof(config.compat_op) && config.compat_op[number] != OP_NONE && is_compat()) {
		compat_returned(number, regs, ret);
		return 0;
	}
	if (is_aio(number)) {
		if (!is_compat())
			aio_returned(number, regs, ret);
		return 0;
	}
	if (number >= sizeof(config.syscall_op) || config.syscall_op[number] == OP_NONE)
		return 0;
	tid = bpf_get_current_pid_tgid();
	op = bpf_map_lookup_elem(&calls, &tid);
	if (!op)
		unknown_returned(config.syscall_op[number], regs, ret);
	if (!op || op->op == OP_NONE)
		return 0;
	if (op->left_out) {
		if (op->has_target)
			bpf_map_delete_elem(&targets, &tid);
		goto out;
	}
	if (is_interruption(ret)) {
		if (interrupt_call(op, regs, ret))
			goto out;
		ret = -EINTR;
	}
	runnable_ns = end_cpu_wait(tid, op->start_ns);
	settle_place(op, ret);
	if (is_open(op->op)) {
		if (!fill_opened(op, ret))
			goto out;
		tell_current(op->start_ns);
	}
	emit_call(op, ret, runnable_ns);
	if (op->has_target)
		emit_target(tid, op, ret, runnable_ns);
out:
	op->op = OP_NONE;
	count_call_ended();
	return 0;
}

/* Removes the state of a thread ID that is no longer in use. The current thread had it. */
static __always_inline int forget_calls(__u32 tid)
{
	if (!makes_rows())
		return 0;
	end_interrupted(tid);
	bpf_map_delete_elem(&calls, &tid);
	bpf_map_delete_elem(&targets, &tid);
	forget_cpu_wait(tid);
	return 0;
}

/* sched_process_exit: removes the state of a thread. */
SEC("?tp_btf/sched_process_exit")
int TIMED_PROG(iostrata_exit, struct task_struct *task)
{
	return forget_calls(task->pid);
}

/*
 * sched_process_exec: a thread that calls execve() takes over the ID of its process. Its own ID is gone, and no other
 * event reports that.
 */
SEC("?tp_btf/sched_process_exec")
int TIMED_PROG(iostrata_exec_calls, struct task_struct *task, int old_pid)
{
	return old_pid == task->pid ? 0 : forget_calls(old_pid);
}

#endif
