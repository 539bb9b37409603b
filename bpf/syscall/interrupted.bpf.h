/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls that a signal interrupts. The kernel's internal error codes for that (include/linux/errno.h) reach no program.
 * A program sees EINTR, or nothing, because the kernel restarts the call when the signal has been handled. A restarted
 * call is one call that took longer.
 */
#ifndef IOSTRATA_INTERRUPTED_H
#define IOSTRATA_INTERRUPTED_H

enum { EINTR = 4, ERESTARTSYS = 512, ERESTARTNOINTR = 513, ERESTARTNOHAND = 514, ERESTART_RESTARTBLOCK = 516 };

struct interrupted {
	struct file_op op;
	__u64 ended_ns;
	/* Checksum that distinguishes the call from others of the thread. */
	__u64 call;
};

/*
 * Key: thread ID; value: its call that is to be restarted. Written at the interruption. Full: the call is recorded as
 * one that ended, and the restart as another one.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, 1); /* BPF_F_NO_PREALLOC: signals are few */
	__type(key, __u32);
	__type(value, struct interrupted);
} interrupted SEC(".maps");

/*
 * Returns the number of the lowest set bit. A loop that clang does not recognize: clang 14 crashes on its own
 * __builtin_ctzll().
 */
static __always_inline __u32 lowest_bit(__u64 bits)
{
	__u32 number = 0;

	while (number < 63) {
		barrier_var(bits);
		if (bits & 1)
			break;
		bits >>= 1;
		number++;
	}
	return number;
}

static __always_inline bool is_interruption(long ret)
{
	return ret == -ERESTARTSYS || ret == -ERESTARTNOINTR || ret == -ERESTARTNOHAND || ret == -ERESTART_RESTARTBLOCK;
}

/*
 * Returns a checksum of the registers. A restarted call has the same ones: its number, its arguments, its instruction
 * pointer and its stack pointer.
 */
static __always_inline __u64 call_of(struct pt_regs *regs, long number)
{
	__u64 words[] = { number, regs->ip, regs->sp, regs->di, regs->si, regs->dx, regs->r10, regs->r8, regs->r9 };

	return checksum(words, sizeof(words)) | 1;
}

/*
 * Returns whether the kernel restarts the call (handle_signal() in arch/x86/kernel/signal.c). The handler of the signal
 * that is delivered first decides; signals of the thread come before those of the process. Without a handler, the
 * process ends, which is visible, or the call goes on. A global function: the verifier checks it once, and not for each
 * bit in all code that follows.
 */
__noinline int begins_anew(long ret)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u64 blocked = BPF_CORE_READ(task, blocked.sig[0]);
	__u64 waiting = BPF_CORE_READ(task, pending.signal.sig[0]) & ~blocked;
	struct sighand_struct *handlers = BPF_CORE_READ(task, sighand);
	struct k_sigaction *action;
	__u64 handler;

	if (ret == -ERESTARTNOINTR)
		return true;
	if (!waiting)
		waiting = BPF_CORE_READ(task, signal, shared_pending.signal.sig[0]) & ~blocked;
	if (!waiting)
		return true;
	action = (void *)handlers + bpf_core_field_offset(struct sighand_struct, action) +
		 lowest_bit(waiting) * bpf_core_type_size(struct k_sigaction);
	handler = (__u64)BPF_CORE_READ(action, sa.sa_handler);
	/* SIG_DFL, SIG_IGN */
	if (handler <= 1)
		return true;
	return ret == -ERESTARTSYS && (BPF_CORE_READ(action, sa.sa_flags) & SA_RESTART);
}

/* Ends a call that was never restarted: its thread ended, or continued with something else. */
static __always_inline void end_interrupted(__u32 tid)
{
	struct interrupted *waits = bpf_map_lookup_elem(&interrupted, &tid);

	if (!waits)
		return;
	emit_file_event_at(&waits->op, 0, CLASS_SYSCALL, -EINTR, waits->ended_ns);
	count_unmeasured();
	bpf_map_delete_elem(&interrupted, &tid);
}

/* Stores the interrupted call of the current thread. False if the call has ended for the program too. */
static __always_inline bool interrupt_call(struct file_op *op, struct pt_regs *regs, long ret)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct interrupted now = {};

	if (op->has_target || !begins_anew(ret))
		return false;
	/* Another signal during a call of a signal handler. */
	if (op->interrupted)
		end_interrupted(tid);
	now.op = *op;
	now.ended_ns = bpf_ktime_get_ns();
	now.call = call_of(regs, regs->orig_ax);
	op->interrupted = !bpf_map_update_elem(&interrupted, &tid, &now, BPF_ANY);
	return op->interrupted;
}

/*
 * The current thread begins a call and has an interrupted one: if this call is its restart, it keeps the start of the
 * interrupted one.
 */
static __always_inline void take_up_call(struct file_op *op, struct pt_regs *regs, long number)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct interrupted *waits = bpf_map_lookup_elem(&interrupted, &tid);

	if (!waits)
		return;
	if (waits->call != call_of(regs, number)) {
		op->interrupted = 1;
		return;
	}
	op->start_ns = waits->op.start_ns;
	bpf_map_delete_elem(&interrupted, &tid);
}

#endif
