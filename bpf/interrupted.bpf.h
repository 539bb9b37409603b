/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls that a signal interrupts. The kernel's own codes for that (include/linux/errno.h) reach no program: it sees EINTR, or
 * nothing, because the kernel begins the call anew when the signal has been handled. Then it is one call that took longer.
 */
#ifndef IOSTRATA_INTERRUPTED_H
#define IOSTRATA_INTERRUPTED_H

enum { EINTR = 4, ERESTARTSYS = 512, ERESTARTNOINTR = 513, ERESTARTNOHAND = 514, ERESTART_RESTARTBLOCK = 516 };

struct interrupted {
	struct file_op op;
	__u64 ended_ns;
	/* What tells the call from others of the thread. */
	__u64 call;
};

/* Key: thread id; value: its call that is to begin anew. Full: the call is one that ended, and another one that began. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, 1); /* BPF_F_NO_PREALLOC: signals are few */
	__type(key, __u32);
	__type(value, struct interrupted);
} interrupted SEC(".maps");

/* The number of the lowest bit that is set. As a loop that it does not see through: clang 14 crashes over its own __builtin_ctzll(). */
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

/* Begun anew, a call has the registers that it had: its number, its arguments, and where it was made. */
static __always_inline __u64 call_of(struct pt_regs *regs, long number)
{
	__u64 words[] = { number, regs->ip, regs->sp, regs->di, regs->si, regs->dx, regs->r10, regs->r8, regs->r9 };

	return checksum(words, sizeof(words)) | 1;
}

/*
 * A function with linkage, which the verifier goes through once, and not for each bit in all that comes after.
 * Whether the kernel begins the call anew (handle_signal() in arch/x86/kernel/signal.c): by the handler of the signal that is
 * delivered first, one of the thread before one of the process. Where there is none, the process ends, which shows, or it goes on.
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

/* A call that was never begun anew: its thread ended, or left it for something else. */
static __always_inline void end_interrupted(__u32 tid)
{
	struct interrupted *waits = bpf_map_lookup_elem(&interrupted, &tid);

	if (!waits)
		return;
	emit_file_event_at(&waits->op, 0, CLASS_SYSCALL, -EINTR, waits->ended_ns);
	count_unmeasured();
	bpf_map_delete_elem(&interrupted, &tid);
}

/* The current thread's call was interrupted. False where it is over with that, for the program too. */
static __always_inline bool interrupt_call(struct file_op *op, struct pt_regs *regs, long ret)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct interrupted now = {};

	if (op->has_target || !begins_anew(ret))
		return false;
	/* Of a handler in whose own call another signal came. */
	if (op->interrupted)
		end_interrupted(tid);
	now.op = *op;
	now.ended_ns = bpf_ktime_get_ns();
	now.call = call_of(regs, regs->orig_ax);
	op->interrupted = !bpf_map_update_elem(&interrupted, &tid, &now, BPF_ANY);
	return op->interrupted;
}

/* The current thread begins a call, and has one that was interrupted: where that is this one, it began when that did. */
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
