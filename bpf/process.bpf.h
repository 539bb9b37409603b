/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processes: who they are, told once at their first recorded I/O and again after exec; and which of them belong to the
 * recorded trees. It is told from the kernel side, because a process of a millisecond is gone before anyone could read
 * its /proc entry.
 */
#ifndef IOSTRATA_PROCESS_H
#define IOSTRATA_PROCESS_H

struct told {
	__u64 start_ns;
	/* Counts the process's execs. */
	__u64 exec_id;
};

/* Key: process id; value: what was told of it. LRU: a process that is forgotten is told again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct told);
} told SEC(".maps");

/*
 * Key: 0. Who was told last on this CPU, which is most often who asks again: saves the hash. A task that is preempted
 * between the writes leaves what belongs to no process, which only sends the next one to the hash.
 */
struct last_told {
	__u64 pid;
	struct told what;
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct last_told);
} last_told SEC(".maps");

static __always_inline void fill_exe(struct process_event *event, struct mm_struct *mm)
{
	struct file *file = BPF_CORE_READ(mm, exe_file);
	__u64 ticket = path_ticket();
	struct path_walk *walk;

	if (!file)
		return;
	walk = walk_path(file, BPF_CORE_READ(file, f_path.dentry), ticket);
	if (!walk)
		return;
	event->exe_components = walk->components;
	event->exe_origin = take_path(event->exe, walk, ticket);
}

/* The process reads its own arguments, so a fault here means they are swapped out: then there is no command line. */
static __always_inline void fill_cmdline(struct process_event *event, struct mm_struct *mm)
{
	unsigned long start = BPF_CORE_READ(mm, arg_start);
	__u64 length = BPF_CORE_READ(mm, arg_end) - start;

	if (length > CMDLINE_BYTES)
		length = CMDLINE_BYTES;
	if (!bpf_probe_read_user(event->cmdline, length, (void *)start))
		event->cmdline_length = length;
}

static __always_inline struct told told_of_current(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct told is = {};

	/* Since 5.11 the current task is to be had with its type, and so by plain loads. */
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)) {
		struct task_struct *typed = bpf_get_current_task_btf();

		is.start_ns = typed->group_leader->start_time;
		is.exec_id = typed->self_exec_id;
	} else {
		is.start_ns = BPF_CORE_READ(task, group_leader, start_time);
		is.exec_id = BPF_CORE_READ(task, self_exec_id);
	}
	return is;
}

static __always_inline __u32 flags_of_current(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf))
		return bpf_get_current_task_btf()->flags;
	return BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), flags);
}

static __always_inline bool current_is_kernel_thread(void)
{
	return flags_of_current() & PF_KTHREAD;
}

/*
 * jbd2's thread writes nothing but the journal, and some of it like any other buffer: revoke records and the journal's super
 * block (write_dirty_buffer() in fs/jbd2/revoke.c, jbd2_write_superblock()). Kernel threads get their names from the kernel.
 */
static __always_inline bool is_journal_thread(const char *comm)
{
	return comm[0] == 'j' && comm[1] == 'b' && comm[2] == 'd' && comm[3] == '2' && comm[4] == '/';
}

static __always_inline bool same_told(struct told *one, struct told *other)
{
	return one->start_ns == other->start_ns && one->exec_id == other->exec_id;
}

/*
 * Tells who the current process is, `pid` and `is`, unless that was told. `at_ns` is not after the start of the I/O
 * that asks for it; 0 is now.
 */
static __always_inline void tell_process(__u32 pid, struct told is, __u64 at_ns)
{
	struct process_event *event;
	struct task_struct *task;
	struct last_told *last;
	struct mm_struct *mm;
	struct told *was;
	__u32 zero = 0;
	void *ring;

	last = bpf_map_lookup_elem(&last_told, &zero);
	if (!last || (last->pid == pid && same_told(&last->what, &is)))
		return;
	was = bpf_map_lookup_elem(&told, &pid);
	if (was && same_told(was, &is)) {
		last->what = is;
		last->pid = pid;
		return;
	}
	task = (void *)bpf_get_current_task();
	mm = BPF_CORE_READ(task, mm);
	ring = ring_of_this_cpu();
	if (!ring)
		return;
	event = reserve_event(ring, CLASS_PROCESS, sizeof(*event), OP_NONE, 0);
	if (!event)
		return;
	fill_head(&event->head, CLASS_PROCESS, OP_NONE, FD_UNKNOWN, at_ns ? at_ns : bpf_ktime_get_ns());
	identify_current(&event->who);
	event->process_start_ns = is.start_ns;
	event->ppid = BPF_CORE_READ(task, real_parent, tgid);
	event->kernel_thread = !!(BPF_CORE_READ(task, flags) & PF_KTHREAD);
	event->exe_components = 0;
	event->exe_origin = PATH_FROM_NONE;
	__builtin_memset(event->reserved, 0, sizeof(event->reserved));
	event->cmdline_length = 0;
	if (mm) {
		fill_exe(event, mm);
		fill_cmdline(event, mm);
	}
	submit_event(event, sizeof(*event));
	/* Where this fails the process is told once more, which does no harm. */
	bpf_map_update_elem(&told, &pid, &is, BPF_ANY);
}

static __always_inline void tell_current(__u64 at_ns)
{
	tell_process(bpf_get_current_pid_tgid() >> 32, told_of_current(), at_ns);
}

/* A child of a recorded process is recorded. Threads share their process id and are there already. */
SEC("?tp_btf/sched_process_fork")
int TIMED_PROG(iostrata_fork, struct task_struct *parent, struct task_struct *child)
{
	__u32 parent_pid = parent->tgid;
	__u32 child_pid = child->tgid;
	__u64 start_ns = child->start_time;

	if (parent_pid == child_pid || !bpf_map_lookup_elem(&tree, &parent_pid))
		return 0;
	if (bpf_map_update_elem(&tree, &child_pid, &start_ns, BPF_ANY)) {
		struct account *account = account_of(CLASS_PROCESS);

		if (account) {
			account->seen++;
			account->inflight_full++;
		}
	}
	return 0;
}

/*
 * The task is gone for good. Not at exit: closing files at exit does I/O that is still the process's own. The start
 * time guards the entry of a new process that got the same id meanwhile.
 */
SEC("?tp_btf/sched_process_free")
int TIMED_PROG(iostrata_free, struct task_struct *task)
{
	__u32 pid = task->pid;
	__u64 *start_ns;

	if (pid != task->tgid)
		return 0;
	start_ns = bpf_map_lookup_elem(&tree, &pid);
	if (start_ns && (*start_ns == task->start_time || !*start_ns))
		bpf_map_delete_elem(&tree, &pid);
	return 0;
}

#endif
