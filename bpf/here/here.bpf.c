// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Identity of the recorder, and the tasks that it can see. In a container its IDs, its clock and its cgroups are not
 * those of the initial namespaces, which are what the programs see. A separate object, because its results are set in
 * the other one before that is loaded.
 */
#include "core/kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "here/here.h"

/* Key: 0; value: the recorder as the kernel sees it. Written by iostrata_here. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct here);
} here SEC(".maps");

/*
 * Run by the recorder (BPF_PROG_TEST_RUN), and so in its own context; attached to nothing. Records the identity of the
 * recorder.
 */
SEC("?raw_tp")
int iostrata_here(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u32 zero = 0;
	struct here *is = bpf_map_lookup_elem(&here, &zero);

	if (!is)
		return 0;
	is->pid = bpf_get_current_pid_tgid() >> 32;
	is->exec_id = BPF_CORE_READ(task, self_exec_id);
	is->pid_namespace_level = BPF_CORE_READ(task, thread_pid, level);
	is->cgroup_level = BPF_CORE_READ(task, cgroups, dfl_cgrp, level);
	is->now_ns = bpf_ktime_get_ns();
	return 0;
}

/* Returns the ID that a task has in the namespace at this depth, which is the reader's. */
static __always_inline __u32 number_at(struct task_struct *task, __u32 level)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	__u64 numbers = (__u64)pid + bpf_core_field_offset(struct pid, numbers);
	struct upid *upid = (struct upid *)(numbers + level * bpf_core_type_size(struct upid));

	return BPF_CORE_READ(upid, nr);
}

const volatile __u32 pid_namespace_level = 0;

/* Task iterator: all tasks that the reader can see. The kernel iterates over those of the reader's PID namespace. */
SEC("?iter/task")
int iostrata_tasks(struct bpf_iter__task *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *task = ctx->task;
	struct task_record record = {};

	if (!task)
		return 0;
	record.pid = task->tgid;
	record.tid = task->pid;
	record.ppid = BPF_CORE_READ(task, real_parent, tgid);
	record.local_pid = number_at(BPF_CORE_READ(task, group_leader), pid_namespace_level);
	record.local_tid = number_at(task, pid_namespace_level);
	record.start_ns = BPF_CORE_READ(task, group_leader, start_time);
	bpf_seq_write(seq, &record, sizeof(record));
	return 0;
}

/* Task iterator: the kernel's I/O counters of each of these tasks, except those that never moved a byte. */
SEC("?iter/task")
int iostrata_task_io(struct bpf_iter__task *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *task = ctx->task;
	struct task_io io = {};

	/* CONFIG_TASK_XACCT */
	if (!task || !bpf_core_field_exists(struct task_io_accounting, rchar))
		return 0;
	io.read_bytes = task->ioac.rchar;
	io.write_bytes = task->ioac.wchar;
	io.ended_read_bytes = BPF_CORE_READ(task, signal, ioac.rchar);
	io.ended_write_bytes = BPF_CORE_READ(task, signal, ioac.wchar);
	if (!(io.read_bytes | io.write_bytes | io.ended_read_bytes | io.ended_write_bytes))
		return 0;
	io.pid = task->tgid;
	io.tid = task->pid;
	io.start_ns = BPF_CORE_READ(task, group_leader, start_time);
	bpf_seq_write(seq, &io, sizeof(io));
	return 0;
}

/* As in iostrata.bpf.c. */
struct record_types {
	struct here here;
	struct task_record task_record;
	struct task_io task_io;
};
const volatile struct record_types *record_types_in_btf = 0;

char LICENSE[] SEC("license") = "GPL";
