/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processes: who they are, told once at their first recorded I/O, again after exec, and in each cgroup in which they do any; and
 * which of them belong to the recorded trees. It is told from the kernel side, because a process of a millisecond is gone before
 * anyone could read its /proc entry, and a cgroup of one before anyone could find its directory.
 */
#ifndef IOSTRATA_PROCESS_H
#define IOSTRATA_PROCESS_H

/* What a row of a process is about. */
struct told {
	__u64 start_ns;
	/* Counts the process's execs. */
	__u64 exec_id;
	/* Of the thread that does the I/O. */
	__u64 cgroup_id;
};

enum told_state {
	/* Nothing was told. */
	TOLD_NOTHING,
	TOLD_WHOLE,
	/* Within an exec, before the arguments are there: told again when that is over. */
	TOLD_IN_EXEC,
	/* There was no room for the record, which was counted once: tried again, and counted no more. */
	TOLD_LOST,
};

struct told_key {
	__u32 pid;
	__u32 reserved;
	__u64 cgroup_id;
};

struct told_record {
	struct told what;
	/* Of which time. */
	__u64 at_ns;
	/* enum told_state */
	__u64 state;
};

/* What was told of each process in each cgroup. LRU: one that is forgotten is told again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct told_key);
	__type(value, struct told_record);
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

/* What there is to tell of a process. */
struct portrait {
	struct task_struct *task;
	/* NULL: it has none. Their names are of value while the walk has the ticket. */
	struct path_walk *exe;
	struct path_walk *cgroup;
	__u64 exe_ticket;
	__u64 cgroup_ticket;
	/* Where its arguments are in user space, and how many bytes of them there are. */
	unsigned long arguments;
	__u64 length;
	__u64 start_ns;
	bool is_kernel_thread;
	/* Its arguments are not there yet. */
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
	/* Kernel threads borrow the memory of processes. */
	if (!mm || of.is_kernel_thread)
		return of;
	file = BPF_CORE_READ(mm, exe_file);
	of.exe_ticket = path_ticket();
	if (file)
		of.exe = walk_path(file, BPF_CORE_READ(file, f_path.dentry), of.exe_ticket);
	/*
	 * Within an exec the begin of the arguments is set long before their end (setup_arg_pages(), create_elf_tables()), and what
	 * lies behind them is the environment, of which not a byte is read.
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
	/* A copy: BPF_CORE_READ would take the portrait itself for a kernel type. */
	struct task_struct *task = of->task;

	/* Just before what is told when the exec is over, which is of the same I/O. */
	fill_head(&process->head, CLASS_PROCESS, OP_NONE, FD_UNKNOWN, at_ns - of->in_exec);
	identify_current(&process->who);
	/* The process's own name is its first thread's: whichever thread does I/O first may have any. */
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

/* The process reads its own arguments, so a fault means that they are swapped out: then there are none. Up to `most` bytes of them. */
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

	/* Since 5.11 the current task is to be had with its type, and so by plain loads. */
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
 * Threads that the kernel makes for a process and that never return to it: io_uring's workers and its polling thread, since 6.4
 * those of vhost. Their registers are a copy of their maker's, from when they were made, and tell nothing of what they do.
 */
static __always_inline bool current_is_io_worker(void)
{
	/* Before there were any of vhost that flag had another meaning. */
	__u32 workers = bpf_core_type_exists(struct vhost_task) ? PF_IO_WORKER | PF_USER_WORKER : PF_IO_WORKER;

	return flags_of_current() & workers;
}

/*
 * jbd2's thread writes nothing but the journal, and some of it like any other buffer: revoke records and the journal's super
 * block (write_dirty_buffer() in fs/jbd2/revoke.c, jbd2_write_superblock()). Kernel threads get their names from the kernel.
 */
static __always_inline bool is_journal_thread(const char *comm)
{
	return comm[0] == 'j' && comm[1] == 'b' && comm[2] == 'd' && comm[3] == '2' && comm[4] == '/';
}

/* ext4's thread that zeroes what `mkfs` left for later, straight to the device: no page tells what it is. */
static __always_inline bool is_initializing_thread(const char *comm)
{
	return *(__u64 *)comm == 0x797a616c34747865ULL && *(__u64 *)(comm + 8) == 0x74696e69ULL; /* "ext4lazyinit" */
}

static __always_inline bool same_told(struct told *one, struct told *other)
{
	return one->start_ns == other->start_ns && one->exec_id == other->exec_id && one->cgroup_id == other->cgroup_id;
}

/*
 * A record of the current process. What came of it (enum told_state); `counted`: that an earlier one was lost is in the books
 * already. A function with linkage, here and below, which the verifier goes through once.
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

/*
 * Tells who the current process is, unless that was told: the way that is seldom gone.
 */
__noinline int tell_anew(__u32 pid, __u64 start_ns, __u64 exec_id, __u64 cgroup_id, __u64 at_ns)
{
	struct told_record record = { .what = { start_ns, exec_id, cgroup_id }, .at_ns = at_ns ? at_ns : bpf_ktime_get_ns() };
	struct told_key key = { .pid = pid, .cgroup_id = cgroup_id };
	struct told_record *was = bpf_map_lookup_elem(&told, &key);
	struct last_told *last;

	record.state = was && same_told(&was->what, &record.what) ? was->state : TOLD_NOTHING;
	if (record.state == TOLD_NOTHING || record.state == TOLD_LOST) {
		record.state = emit_process(record.what.start_ns, record.at_ns, record.state == TOLD_LOST);
		/* Where this fails the process is told, or its loss counted, once more. */
		bpf_map_update_elem(&told, &key, &record, BPF_ANY);
	}
	last = bpf_map_lookup_elem(&last_told, (void *)&only_entry);
	/* Of what is to be told again, every CPU is to ask again. */
	if (!last || record.state != TOLD_WHOLE)
		return 0;
	last->what = record.what;
	last->pid = key.pid;
	return 0;
}

/*
 * Tells who the current process is, `pid` and `is`, unless that was told. `at_ns` is not after the start of the I/O
 * that asks for it; 0 is now.
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

/* An exec is over: a process that was told within it, at the reading of its program, is told again, now with its arguments. */
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
	/* Without arguments at all it is whole too. Where this one is lost, it is tried again at the next I/O. */
	was->state = state == TOLD_IN_EXEC ? TOLD_WHOLE : state;
	return 0;
}

static __always_inline void add_to_tree(__u32 pid, __u64 start_ns)
{
	struct account *account;

	if (!bpf_map_update_elem(&tree, &pid, &start_ns, BPF_ANY))
		return;
	account = account_of(CLASS_PROCESS);
	if (account) {
		account->seen++;
		account->inflight_full++;
	}
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
	add_to_tree(child_pid, start_ns);
	return 0;
}

/*
 * A process that the recorder has started becomes the command: what it did before is the recorder's doing. The count of its execs
 * tells the command's from that of the recorder's own launcher.
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
 * The task is gone for good. Not at exit: closing files at exit does I/O that is still the process's own. The start
 * time guards the entry of a new process that got the same id meanwhile.
 */
SEC("?tp_btf/sched_process_free")
int TIMED_PROG(iostrata_free, struct task_struct *task)
{
	__u32 pid = task->pid;
	__u64 *start_ns;

	/*
	 * Not the process: one of its threads, or the first one where another has called execve() and took over its id and its start
	 * (de_thread() in fs/exec.c).
	 */
	if (HOP(task)->group_leader != task)
		return 0;
	start_ns = bpf_map_lookup_elem(&tree, &pid);
	if (start_ns && (*start_ns == task->start_time || !*start_ns))
		bpf_map_delete_elem(&tree, &pid);
	return 0;
}

#endif
