/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The current process: which it is, its name, and whether the filters select it. */
#ifndef IOSTRATA_ACTIVE_PROCESS_H
#define IOSTRATA_ACTIVE_PROCESS_H

/* Filters by owner. 0: not in effect. */
const volatile __u32 filters_pid = 0;
const volatile __u32 filters_cgroup = 0;
const volatile __u32 filters_comm = 0;
/* Depth and id of the selected cgroup. */
const volatile __u32 cgroup_level = 0;
const volatile __u64 cgroup_id = 0;
/* Selected command name. */
const volatile char comm[COMM_BYTES] = {};

/* Key: id of a selected process; value: unused. Written by user space, at fork and at exit. Full: counted as lost. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, 1); /* BPF_F_NO_PREALLOC: mostly empty, and written at fork only */
	__type(key, __u32);
	__type(value, __u32);
} selected SEC(".maps");

/* Key: process; value: its name. Written when it does I/O. LRU: an evicted one is written again at its next I/O. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct process_key);
	__type(value, struct process_name);
} processes SEC(".maps");

/* Process whose name was stored last on this CPU. Until then, its entry needs no lookup. */
struct met_process {
	struct process_key key;
	struct process_name name;
	__u64 until_ns;
};

/* Key: 0; value: the process. Written by meet_current(). */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct met_process);
} met_processes SEC(".maps");

/* Often enough that an entry in use is not evicted. */
static const __u64 MET_NS = 100000000;

static __always_inline bool same_name(struct process_name *one, struct process_name *other)
{
	return ((__u64 *)one->comm)[0] == ((__u64 *)other->comm)[0] && ((__u64 *)one->comm)[1] == ((__u64 *)other->comm)[1] &&
	       one->cgroup_id == other->cgroup_id;
}

/* Finds id and start time of the current process; for an io_uring worker of its client. */
static __always_inline void find_current(__u64 *start_ns, __u32 *pid)
{
	struct task_struct *task;

	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)) {
		task = client_of_current();
		*pid = task->tgid;
		*start_ns = HOP(task)->group_leader->start_time;
		return;
	}
	task = (struct task_struct *)bpf_get_current_task();
	*pid = bpf_get_current_pid_tgid() >> 32;
	*start_ns = BPF_CORE_READ(task, group_leader, start_time);
}

/* Stores the name of the current process, found by find_current(), unless it is known. */
static __always_inline void meet_current(__u64 start_ns, __u32 pid, __u64 now_ns)
{
	struct process_key key = { .start_ns = start_ns, .pid = pid };
	struct process_name name = {}, *known;
	struct met_process *met;
	struct task_struct *task;
	__u32 zero = 0;

	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)) {
		task = HOP(client_of_current())->group_leader;
		((__u64 *)name.comm)[0] = ((__u64 *)task->comm)[0];
		((__u64 *)name.comm)[1] = ((__u64 *)task->comm)[1];
		name.cgroup_id = HOP(task)->cgroups->dfl_cgrp->kn->id;
	} else {
		task = BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), group_leader);
		bpf_probe_read_kernel(name.comm, sizeof(name.comm), task->comm);
		name.cgroup_id = bpf_get_current_cgroup_id();
	}
	met = bpf_map_lookup_elem(&met_processes, &zero);
	if (!met)
		return;
	if (met->key.pid == pid && met->key.start_ns == start_ns && now_ns < met->until_ns && same_name(&met->name, &name))
		return;
	/* Without room an earlier one is evicted. A process without a name is shown as unknown. An exec changes the name. */
	known = bpf_map_lookup_elem(&processes, &key);
	if (!known || !same_name(known, &name))
		bpf_map_update_elem(&processes, &key, &name, BPF_ANY);
	met->key = key;
	met->name = name;
	met->until_ns = now_ns + MET_NS;
}

/* Returns whether the filters by owner select the current process. */
static __always_inline bool current_is_selected(void)
{
	if (filters_pid) {
		__u32 pid = bpf_get_current_pid_tgid() >> 32;

		if (!bpf_map_lookup_elem(&selected, &pid))
			return false;
	}
	if (filters_cgroup && bpf_get_current_ancestor_cgroup_id(cgroup_level) != cgroup_id)
		return false;
	return !filters_comm || current_is_called(comm);
}

static __always_inline bool filters_owners(void)
{
	return filters_pid || filters_cgroup || filters_comm;
}

/* Key: 0; value: enum detail. Written by user space, which changes it while the programs run. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} detail_wanted SEC(".maps");

static __always_inline bool tells_apart(enum detail what)
{
	__u32 zero = 0, *wanted = bpf_map_lookup_elem(&detail_wanted, &zero);

	return wanted && *wanted >= what;
}

/* Children of a selected process are selected. */
SEC("?tp_btf/sched_process_fork")
int BPF_PROG(block_activity_fork, struct task_struct *parent, struct task_struct *child)
{
	__u32 pid = parent->tgid, child_pid = child->tgid, is_selected = 1;

	if (pid == child_pid || !bpf_map_lookup_elem(&selected, &pid))
		return 0;
	if (bpf_map_update_elem(&selected, &child_pid, &is_selected, BPF_ANY))
		count_table_full();
	return 0;
}

/* After the last thread: the id may be used again. */
SEC("?tp_btf/sched_process_free")
int BPF_PROG(block_activity_free, struct task_struct *task)
{
	__u32 pid = task->tgid;

	if (task->pid == pid)
		bpf_map_delete_elem(&selected, &pid);
	return 0;
}

#endif
