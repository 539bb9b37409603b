/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long threads wait for a CPU within their system calls (`record --run-queue`): runnable, and not running. Without that option the
 * programs here are not loaded, and the verifier removes what the others have of it.
 *
 * A thread is on a CPU, asleep, or runnable. What takes it from one to the next is told under the lock of its run queue, in order: that it
 * leaves a CPU, that it is woken, that it gets a CPU. A change that does not follow from the last one tells that one in between passed
 * unseen: then nobody knows for how long the thread has waited in this call.
 */
#ifndef IOSTRATA_RUN_QUEUE_H
#define IOSTRATA_RUN_QUEUE_H

/* `since_ns` of a thread that waits for no CPU. */
enum { ON_CPU = 0, ASLEEP = 1 };

struct cpu_wait {
	/* When its call began; 0: it is in none. */
	__u64 call_ns;
	/* Since when it is runnable; ON_CPU or ASLEEP. */
	__u64 since_ns;
	/* For how long it was in this call. */
	__u64 waited_ns;
	/* A change passed unseen. */
	__u64 is_unclear;
};

/* Key: thread id. The entry stays for the thread's life, as that in `calls`. Full: of the call it is not known how long it waited. */
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
		/* One that fails shows at the end of the call, and is counted there. */
		bpf_map_update_elem(&cpu_waits, &tid, &begun, BPF_ANY);
}

/* A call has a row, and nobody knows for how long it waited for a CPU. */
static __always_inline void count_unmeasured(void)
{
	struct account *account = account_of(CLASS_SYSCALL);

	if (config.run_queue && account)
		account->unmeasured++;
}

/*
 * How long the current thread has waited for a CPU in its call, which is over. MISSING, and counted, where that is not known, as of a call
 * that was interrupted and begun anew: it began earlier than what was begun here.
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

/* The record of a call of the current task. */
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

/* Of a thread that is in a call; NULL of others, whatever they wait for. */
static __always_inline struct cpu_wait *cpu_wait_of(struct task_struct *task)
{
	struct cpu_wait *wait;
	__u32 tid = task->pid;

	/* A CPU that has nothing to do. */
	if (!tid)
		return 0;
	wait = bpf_map_lookup_elem(&cpu_waits, &tid);
	return wait && wait->call_ns ? wait : 0;
}

/*
 * Whether a thread that leaves its CPU stays runnable. By its state, not by the one that the tracepoint tells since 5.18: that is
 * still to sleep where a signal keeps it from it. Nobody else makes it runnable before it has left.
 */
static __always_inline bool stays_runnable(bool is_preempted, struct task_struct *task)
{
	/* TASK_RUNNING is 0. */
	if (bpf_core_field_exists(task->__state))
		return is_preempted || !task->__state;
	return is_preempted || !((struct task_struct___5_13 *)task)->state;
}

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

/* Of one that is on a CPU still, or runnable already, nothing changes. */
SEC("?tp_btf/sched_wakeup")
int TIMED_PROG(iostrata_sched_wakeup, struct task_struct *task)
{
	struct cpu_wait *wait = cpu_wait_of(task);

	if (wait && wait->since_ns == ASLEEP)
		wait->since_ns = bpf_ktime_get_ns();
	return 0;
}

#endif
