/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Run-queue latency of threads within their system calls (`record --run-queue`): time runnable and not running. Without
 * that option the programs of this file are not loaded, and the verifier removes the related code of the others.
 *
 * A thread is on a CPU, asleep, or runnable. Tracepoints report its transitions under the lock of its run queue, in
 * order: it leaves a CPU, it is woken, it gets a CPU. A transition that does not follow from the last one shows that
 * one in between was missed: then the run-queue latency of the thread in this call is unknown.
 */
#ifndef IOSTRATA_RUN_QUEUE_H
#define IOSTRATA_RUN_QUEUE_H

/* Values of `since_ns` for a thread that does not wait for a CPU. */
enum { ON_CPU = 0, ASLEEP = 1 };

struct cpu_wait {
	/* Start of the call; 0: not in a call. */
	__u64 call_ns;
	/* Time since which the thread is runnable; ON_CPU or ASLEEP. */
	__u64 since_ns;
	/* Run-queue latency in this call. */
	__u64 waited_ns;
	/* A transition was missed. */
	__u64 is_unclear;
};

/*
 * Key: thread ID; value: state of the thread. The entry stays for the thread's life, like that in `calls`. Full: the
 * run-queue latency of the call is unknown, and counted as such.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, __u32);
	__type(value, struct cpu_wait);
} cpu_waits SEC(".maps");

/* The current thread begins a call that is recorded. */
static __always_inline void begin_cpu_wait(__u32 tid, __u64 now_ns)
{
	struct cpu_wait begun = { .call_ns = now_ns }, *known;

	if (!config.run_queue)
		return;
	known = bpf_map_lookup_elem(&cpu_waits, &tid);
	if (known)
		*known = begun;
	else
		/* A failure is detected, and counted, at the end of the call. */
		bpf_map_update_elem(&cpu_waits, &tid, &begun, BPF_ANY);
}

/* Counts a call that has a row and an unknown run-queue latency. */
static __always_inline void count_unmeasured(void)
{
	struct account *account = account_of(CLASS_SYSCALL);

	if (config.run_queue && account)
		account->unmeasured++;
}

/*
 * Returns the run-queue latency of the current thread in its call, which has ended. MISSING, and counted, if it is
 * unknown, as for a call that was interrupted and restarted: it began earlier than the call that was begun here.
 */
static __always_inline __s64 end_cpu_wait(__u32 tid, __u64 call_ns)
{
	struct cpu_wait *wait;
	bool is_known;

	if (!config.run_queue)
		return MISSING;
	wait = bpf_map_lookup_elem(&cpu_waits, &tid);
	is_known = wait && wait->call_ns == call_ns && wait->since_ns == ON_CPU && !wait->is_unclear;
	if (wait)
		wait->call_ns = 0;
	if (is_known)
		return wait->waited_ns;
	count_unmeasured();
	return MISSING;
}

static __always_inline void forget_cpu_wait(__u32 tid)
{
	if (config.run_queue)
		bpf_map_delete_elem(&cpu_waits, &tid);
}

/* Emits the record of a call of the current task. */
static __always_inline void emit_call(struct file_op *op, __s64 ret, __s64 runnable_ns)
{
	struct call_event *event;
	void *ring;

	if (!config.run_queue) {
		emit_file_event(op, CLASS_SYSCALL, ret);
		return;
	}
	ring = ring_of_this_cpu(CLASS_SYSCALL);
	if (!ring)
		return;
	event = reserve_event(ring, CLASS_SYSCALL, sizeof(*event), op->op, ret);
	if (!event)
		return;
	fill_file_event(&event->file, op, 0, CLASS_SYSCALL, ret, bpf_ktime_get_ns());
	event->runnable_ns = runnable_ns;
	submit_event(event, sizeof(*event));
}

/* Returns the state of a thread that is in a call; NULL for other threads, whatever they wait for. */
static __always_inline struct cpu_wait *cpu_wait_of(struct task_struct *task)
{
	struct cpu_wait *wait;
	__u32 tid = task->pid;

	/* The idle task. */
	if (!tid)
		return 0;
	wait = bpf_map_lookup_elem(&cpu_waits, &tid);
	return wait && wait->call_ns ? wait : 0;
}

/*
 * Returns whether a thread that leaves its CPU stays runnable. Reads the thread's state, not the one that the
 * tracepoint passes since 5.18: the latter still says that the thread sleeps if a signal prevents that. Nothing else
 * makes the thread runnable before it has left.
 */
static __always_inline bool stays_runnable(bool is_preempted, struct task_struct *task)
{
	/* TASK_RUNNING is 0. */
	if (bpf_core_field_exists(task->__state))
		return is_preempted || !task->__state;
	return is_preempted || !((struct task_struct___5_13 *)task)->state;
}

/* sched_switch: notes when a thread leaves a CPU, and adds the wait of the thread that gets it. */
SEC("?tp_btf/sched_switch")
int TIMED_PROG(iostrata_sched_switch, bool is_preempted, struct task_struct *leaves, struct task_struct *comes)
{
	struct cpu_wait *wait = cpu_wait_of(leaves);

	if (wait) {
		if (wait->since_ns != ON_CPU)
			wait->is_unclear = 1;
		wait->since_ns = stays_runnable(is_preempted, leaves) ? bpf_ktime_get_ns() : ASLEEP;
	}
	wait = cpu_wait_of(comes);
	if (wait) {
		if (wait->since_ns > ASLEEP)
			wait->waited_ns += bpf_ktime_get_ns() - wait->since_ns;
		else
			wait->is_unclear = 1;
		wait->since_ns = ON_CPU;
	}
	return 0;
}

/* sched_wakeup: a sleeping thread becomes runnable. Nothing changes for a thread that is still on a CPU, or already runnable. */
SEC("?tp_btf/sched_wakeup")
int TIMED_PROG(iostrata_sched_wakeup, struct task_struct *task)
{
	struct cpu_wait *wait = cpu_wait_of(task);

	if (wait && wait->since_ns == ASLEEP)
		wait->since_ns = bpf_ktime_get_ns();
	return 0;
}

#endif
