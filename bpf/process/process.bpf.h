/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Process records: emitted at the first recorded I/O of a process, again after exec, and in each cgroup in which the
 * process does I/O. Also tracks which processes belong to the recorded trees. The kernel side emits these records,
 * because a process that lives for a millisecond exits before its /proc entry can be read, and a cgroup that lives as
 * long is removed before its directory can be found.
 */
#ifndef IOSTRATA_PROCESS_H
#define IOSTRATA_PROCESS_H

/* Subject of a process record. */
struct told {
	__u64 start_ns;
	/* Number of the process's execs. */
	__u64 exec_id;
	/* Cgroup of the thread that does the I/O. */
	__u64 cgroup_id;
};

/* State of a process's record. */
enum told_state {
	/* No record was emitted. */
	TOLD_NOTHING,
	TOLD_WHOLE,
	/* Emitted during an exec, before the arguments are present: emitted again at the end of the exec. */
	TOLD_IN_EXEC,
	/* The ring was full, and the record was counted as lost once: it is tried again, and not counted again. */
	TOLD_LOST,
};

struct told_key {
	__u32 pid;
	__u32 reserved;
	__u64 cgroup_id;
};

struct told_record {
	struct told what;
	/* Time of the record. */
	__u64 at_ns;
	/* enum told_state */
	__u64 state;
};

/*
 * Key: process ID and cgroup; value: the last process record. Written by the program that emits a record. LRU: the
 * record of an evicted process is emitted again.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct told_key);
	__type(value, struct told_record);
} told SEC(".maps");

/*
 * Key: 0; value: the process of the last record on this CPU, which is usually the one that does the next I/O: saves the
 * hash table lookup. A task that is preempted between the writes leaves an entry that matches no process, and the next
 * task uses the hash table.
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

/* Contents of a process record. */
struct portrait {
	struct task_struct *task;
	/* NULL: none. The names are valid as long as the walk has the ticket. */
	struct path_walk *exe;
	struct path_walk *cgroup;
	__u64 exe_ticket;
	__u64 cgroup_ticket;
	/* Address of the arguments in user space, and their length in bytes. */
	unsigned long arguments;
	__u64 length;
	__u64 start_ns;
	bool is_kernel_thread;
	/* The arguments are not present yet. */
	bool in_exec;
};

static __always_inline struct portrait portrait_of_current(__u64 start_ns)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct portrait of = { .task = task, .start_ns = start_ns };
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	unsigned long end;
	struct file *file;

	of.is_kernel_thread = BPF_CORE_READ(task, flags) & PF_KTHREAD;
	of.cgroup_ticket = path_ticket();
	of.cgroup = walk_cgroup(BPF_CORE_READ(task, cgroups, dfl_cgrp, kn), of.cgroup_ticket);
	/* Kernel threads borrow the mm of processes. */
	if (!mm || of.is_kernel_thread)
		return of;
	file = BPF_CORE_READ(mm, exe_file);
	of.exe_ticket = path_ticket();
	if (file)
		of.exe = walk_path(file, BPF_CORE_READ(file, f_path.dentry), of.exe_ticket);
	/*
	 * During an exec, arg_start is set long before arg_end (setup_arg_pages(), create_elf_tables()). The
	 * environment follows the arguments; no byte of it is read.
	 */
	of.arguments = BPF_CORE_READ(mm, arg_start);
	end = BPF_CORE_READ(mm, arg_end);
	of.in_exec = end <= of.arguments;
	of.length = of.in_exec ? 0 : end - of.arguments;
	return of;
}

static __always_inline bool is_short(struct portrait *of)
{
	return (!of->exe || of->exe->length <= SHORT_PATH_BYTES) && (!of->cgroup || of->cgroup->length <= SHORT_PATH_BYTES) &&
	       of->length <= SHORT_CMDLINE_BYTES;
}

static __always_inline void fill_process(struct process_head *process, struct portrait *of, __u64 at_ns)
{
	/* A copy: BPF_CORE_READ would treat the portrait itself as a kernel type. */
	struct task_struct *task = of->task;

	/* 1 ns before the record that is emitted at the end of the exec, for the same I/O. */
	fill_head(&process->head, CLASS_PROCESS, OP_NONE, FD_UNKNOWN, at_ns - of->in_exec);
	identify_current(&process->who);
	/* The name of a process is that of its first thread: the thread that does I/O first may have any name. */
	BPF_CORE_READ_INTO(&process->who.comm, task, group_leader, comm);
	process->process_start_ns = of->start_ns;
	process->ppid = BPF_CORE_READ(task, real_parent, tgid);
	process->kernel_thread = of->is_kernel_thread;
	process->exe_components = of->exe ? of->exe->components : 0;
	process->exe_origin = PATH_FROM_NONE;
	process->cgroup_components = of->cgroup ? of->cgroup->components : 0;
	process->cgroup_origin = PATH_FROM_NONE;
	process->cmdline_cut = of->length > CMDLINE_BYTES + CMDLINE_TAIL_BYTES;
	process->cmdline_length = 0;
	process->cmdline_tail_length = 0;
	process->reserved = 0;
}

/*
 * Reads up to `most` bytes of the arguments. The process reads its own arguments, so a fault means that they are
 * swapped out: then the result is empty.
 */
static __always_inline __u64 read_arguments(char *to, __u64 most, unsigned long from, __u64 length)
{
	if (length > most)
		length = most;
	return bpf_probe_read_user(to, length, (void *)from) ? 0 : length;
}

static __always_inline bool emit_short(void *ring, struct portrait *of, __u64 at_ns)
{
	struct process_event_short *event = bpf_ringbuf_reserve(ring, sizeof(*event), 0);

	if (!event)
		return false;
	fill_process(&event->process, of, at_ns);
	if (of->exe)
		event->process.exe_origin = take_names(event->exe, SHORT_PATH_BYTES, of->exe, of->exe_ticket);
	if (of->cgroup)
		event->process.cgroup_origin = take_names(event->cgroup, SHORT_PATH_BYTES, of->cgroup, of->cgroup_ticket);
	event->process.cmdline_length = read_arguments(event->cmdline, SHORT_CMDLINE_BYTES, of->arguments, of->length);
	submit_event(event, sizeof(*event));
	return true;
}

static __always_inline bool emit_long(void *ring, struct portrait *of, __u64 at_ns)
{
	struct process_event_long *event = bpf_ringbuf_reserve(ring, sizeof(*event), 0);
	__u64 tail = of->length > CMDLINE_BYTES ? of->length - CMDLINE_BYTES : 0;

	if (!event)
		return false;
	fill_process(&event->process, of, at_ns);
	if (of->exe)
		event->process.exe_origin = take_path(event->exe, of->exe, of->exe_ticket);
	if (of->cgroup)
		event->process.cgroup_origin = take_path(event->cgroup, of->cgroup, of->cgroup_ticket);
	event->process.cmdline_length = read_arguments(event->cmdline, CMDLINE_BYTES, of->arguments, of->length);
	if (tail > CMDLINE_TAIL_BYTES)
		tail = CMDLINE_TAIL_BYTES;
	event->process.cmdline_tail_length =
		read_arguments(event->cmdline_tail, CMDLINE_TAIL_BYTES, of->arguments + of->length - tail, tail);
	submit_event(event, sizeof(*event));
	return true;
}

static __always_inline struct told told_of_current(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct told is = {};

	/* Since 5.11 the current task is available as a typed pointer, and so by direct loads. */
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)) {
		struct task_struct *typed = bpf_get_current_task_btf();

		is.start_ns = typed->group_leader->start_time;
		is.exec_id = typed->self_exec_id;
		is.cgroup_id = typed->cgroups->dfl_cgrp->kn->id;
	} else {
		is.start_ns = BPF_CORE_READ(task, group_leader, start_time);
		is.exec_id = BPF_CORE_READ(task, self_exec_id);
		is.cgroup_id = bpf_get_current_cgroup_id();
	}
	return is;
}

static __always_inline bool same_told(struct told *one, struct told *other)
{
	return one->start_ns == other->start_ns && one->exec_id == other->exec_id && one->cgroup_id == other->cgroup_id;
}

/*
 * Emits a record of the current process. Returns enum told_state. `counted`: the loss of an earlier record is already
 * counted. A global function, here and below: the verifier checks it once.
 */
__noinline int emit_process(__u64 start_ns, __u64 at_ns, bool counted)
{
	struct account *account = account_of(CLASS_PROCESS);
	struct portrait of = portrait_of_current(start_ns);
	void *ring = ring_of_this_cpu(CLASS_PROCESS);

	if (!ring || !account)
		return TOLD_NOTHING;
	if (is_short(&of) ? emit_short(ring, &of, at_ns) : emit_long(ring, &of, at_ns)) {
		account->seen++;
		return of.in_exec ? TOLD_IN_EXEC : TOLD_WHOLE;
	}
	if (!counted) {
		account->seen++;
		account->ring_full++;
	}
	return TOLD_LOST;
}

/* Emits a record of the current process unless one was emitted: the slow path. */
__noinline int tell_anew(__u32 pid, __u64 start_ns, __u64 exec_id, __u64 cgroup_id, __u64 at_ns)
{
	struct told_record record = { .what = { start_ns, exec_id, cgroup_id }, .at_ns = at_ns ? at_ns : bpf_ktime_get_ns() };
	struct told_key key = { .pid = pid, .cgroup_id = cgroup_id };
	struct told_record *was = bpf_map_lookup_elem(&told, &key);
	struct last_told *last;

	record.state = was && same_told(&was->what, &record.what) ? was->state : TOLD_NOTHING;
	if (record.state == TOLD_NOTHING || record.state == TOLD_LOST) {
		record.state = emit_process(record.what.start_ns, record.at_ns, record.state == TOLD_LOST);
		/* If this fails, the record is emitted, or its loss counted, once more. */
		bpf_map_update_elem(&told, &key, &record, BPF_ANY);
	}
	last = bpf_map_lookup_elem(&last_told, (void *)&only_entry);
	/* Not stored for a record that is emitted again: every CPU must look that up again. */
	if (!last || record.state != TOLD_WHOLE)
		return 0;
	last->what = record.what;
	last->pid = key.pid;
	return 0;
}

/*
 * Emits a record of the current process, `pid` and `is`, unless one was emitted. `at_ns` is not after the start of the
 * I/O that causes the record; 0: now.
 */
static __always_inline void tell_process(__u32 pid, struct told is, __u64 at_ns)
{
	struct last_told *last;
	__u32 zero = 0;

	last = bpf_map_lookup_elem(&last_told, &zero);
	if (last && last->pid == pid && same_told(&last->what, &is))
		return;
	tell_anew(pid, is.start_ns, is.exec_id, is.cgroup_id, at_ns);
}

static __always_inline void tell_current(__u64 at_ns)
{
	tell_process(bpf_get_current_pid_tgid() >> 32, told_of_current(), at_ns);
}

/*
 * sched_process_exec: if a process record was emitted during the exec, when the program was read, emits it again with
 * the arguments.
 */
SEC("?tp_btf/sched_process_exec")
int TIMED_PROG(iostrata_exec, struct task_struct *task)
{
	struct told_key key = { .pid = bpf_get_current_pid_tgid() >> 32 };
	struct told is = told_of_current();
	struct told_record *was;
	enum told_state state;

	key.cgroup_id = is.cgroup_id;
	was = bpf_map_lookup_elem(&told, &key);
	if (!was || was->state != TOLD_IN_EXEC || !same_told(&was->what, &is))
		return 0;
	state = emit_process(is.start_ns, was->at_ns, false);
	/* A process without any arguments is complete too. If this record is lost, it is tried again at the next I/O. */
	was->state = state == TOLD_IN_EXEC ? TOLD_WHOLE : state;
	return 0;
}

/* Adds a process to `tree`, or counts it as lost. */
static __always_inline void add_to_tree(__u32 pid, __u64 start_ns)
{
	struct account *account;

	if (!join_tree(pid, start_ns))
		return;
	account = account_of(CLASS_PROCESS);
	if (account) {
		account->seen++;
		account->inflight_full++;
	}
}

/*
 * sched_process_fork: adds the child of a recorded process to `tree`. Threads share their process ID, which is present
 * already.
 */
SEC("?tp_btf/sched_process_fork")
int TIMED_PROG(iostrata_fork, struct task_struct *parent, struct task_struct *child)
{
	__u32 parent_pid = parent->tgid;
	__u32 child_pid = child->tgid;
	__u64 start_ns = child->start_time;

	if (parent_pid == child_pid || !is_in_tree(parent_pid))
		return 0;
	add_to_tree(child_pid, start_ns);
	return 0;
}

/*
 * sched_process_exec: adds a process that the recorder has started to `tree` when it becomes the command. Its earlier
 * actions are the recorder's. The number of its execs distinguishes the exec of the command from that of the recorder's
 * own launcher.
 */
SEC("?tp_btf/sched_process_exec")
int TIMED_PROG(iostrata_exec_command, struct task_struct *task)
{
	if (config.command_exec_id && HOP(task)->real_parent->tgid == config.recorder_pid &&
	    task->self_exec_id == config.command_exec_id)
		add_to_tree(task->tgid, HOP(task)->group_leader->start_time);
	return 0;
}

/*
 * sched_process_free: removes a process from `tree`. Not at exit: closing files at exit does I/O that still belongs to
 * the process. The start time protects the entry of a new process that got the same ID meanwhile.
 */
SEC("?tp_btf/sched_process_free")
int TIMED_PROG(iostrata_free, struct task_struct *task)
{
	/*
	 * Not the process: one of its threads, or its first thread after another one called execve() and took over its
	 * ID and its start time (de_thread() in fs/exec.c).
	 */
	if (HOP(task)->group_leader != task)
		return 0;
	leave_tree(task->pid, task->start_time);
	return 0;
}

#endif
