/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls that began before the recording and have not ended at its stop: no event reports them, so the threads are examined. */
#ifndef IOSTRATA_STILL_CALLING_H
#define IOSTRATA_STILL_CALLING_H

/*
 * Location of the registers: at the top of a thread's stack (task_pt_regs() in arch/x86/include/asm/processor.h), for
 * kernels before 5.15, which have no helper for it.
 */
enum { STACK_BYTES = 16384 };

static __always_inline struct pt_regs *registers_of(struct task_struct *task)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
		return (struct pt_regs *)bpf_task_pt_regs(task);
	return (struct pt_regs *)((__u64)BPF_CORE_READ(task, stack) + STACK_BYTES - bpf_core_type_size(struct pt_regs));
}

/* Returns the upper bound of the bytes that a thread's call requests. iovec arrays are not read. */
static __always_inline __s64 asked_by(__u8 op, struct pt_regs *registers)
{
	switch (op) {
	case OP_READ: case OP_WRITE: case OP_PREAD: case OP_PWRITE:
		return at_most(asked_for(BPF_CORE_READ(registers, dx)));
	case OP_SENDFILE_IN:
		return at_most(asked_for(BPF_CORE_READ(registers, r10)));
	case OP_COPY_FILE_RANGE_IN: case OP_SPLICE_IN:
		return at_most(asked_for(BPF_CORE_READ(registers, r8)));
	}
	return MOST_BYTES;
}

/*
 * Task iterator, read by the recorder just before the end of the recording window: counts the I/O of threads that are
 * still in a call that began before the window. A thread that was interrupted in user space has no system call number.
 */
SEC("?iter/task")
int iostrata_still_calling(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct pt_regs *registers;
	struct copy copy = {};
	unsigned long number;
	__u32 tid, pid, fd;
	__s64 bytes;
	__u8 op;

	if (!task || task->flags & (PF_KTHREAD | PF_IO_WORKER | PF_USER_WORKER) || task->tgid == config.recorder_pid)
		return 0;
	tid = task->pid;
	pid = task->tgid;
	if (call_in_flight(tid) || is_known_caller(tid) || (config.filter_pid && !is_in_tree(pid)))
		return 0;
	registers = registers_of(task);
	number = BPF_CORE_READ(registers, orig_ax);
	if (number >= sizeof(config.syscall_op))
		return 0;
	op = config.syscall_op[number];
	if (moves_of(op) == MOVES_NOTHING)
		return 0;
	bytes = asked_by(op, registers);
	fd = BPF_CORE_READ(registers, di);
	know_caller(tid);
	if (find_copied(op, fd, BPF_CORE_READ(registers, si), BPF_CORE_READ(registers, dx), &copy)) {
		count_earlier_on(copy.out_op, file_of_thread(task, copy.out_fd), bytes);
		fd = copy.in_fd;
	}
	count_earlier_on(op, file_of_thread(task, fd), bytes);
	return 0;
}

#endif
