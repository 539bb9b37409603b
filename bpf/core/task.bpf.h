/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The current task. Without maps: for any object. */
#ifndef IOSTRATA_TASK_H
#define IOSTRATA_TASK_H

#include "core/typed.bpf.h"

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
 * Returns whether the current task is a thread that the kernel creates for a process and that never returns to user
 * space: io_uring workers and SQPOLL threads, since 6.4 also vhost threads. Its registers are a copy of its creator's
 * from the time of its creation, and say nothing about its work.
 */
static __always_inline bool current_is_io_worker(void)
{
	/* Before there were vhost threads, the flag had another meaning. */
	__u32 workers = bpf_core_type_exists(struct vhost_task) ? PF_IO_WORKER | PF_USER_WORKER : PF_IO_WORKER;

	return flags_of_current() & workers;
}

/*
 * Returns whether this is the name of jbd2's thread, which writes only the journal. It writes some of the journal like
 * any other buffer: revoke records and the journal's super block (write_dirty_buffer() in fs/jbd2/revoke.c,
 * jbd2_write_superblock()). Kernel threads get their names from the kernel.
 */
static __always_inline bool is_journal_thread(const char *comm)
{
	return comm[0] == 'j' && comm[1] == 'b' && comm[2] == 'd' && comm[3] == '2' && comm[4] == '/';
}

/*
 * Returns whether this is the name of ext4's thread that zeroes what `mkfs` left for later, directly on the device: no
 * page identifies the content.
 */
static __always_inline bool is_initializing_thread(const char *comm)
{
	return *(__u64 *)comm == 0x797a616c34747865ULL && *(__u64 *)(comm + 8) == 0x74696e69ULL; /* "ext4lazyinit" */
}

/*
 * Returns the task that the current task works for: itself or, for an io_uring worker, the thread that the worker
 * belongs to. An SQPOLL thread does not identify the thread that its ring belongs to, so the result is the first thread
 * of the process.
 */
static __always_inline struct task_struct *client_of_current(void)
{
	struct task_struct *task = bpf_get_current_task_btf(), *client;
	struct io_worker *worker;

	if (!(task->flags & PF_IO_WORKER))
		return task;
	if (bpf_ksym_exists(bpf_rdonly_cast) && bpf_core_field_exists(struct io_worker, wq)) {
		worker = task->worker_private;
		client = worker ? BPF_CORE_READ(worker, wq, task) : 0;
		if (client) {
			client = bpf_rdonly_cast(client, bpf_core_type_id_kernel(struct task_struct));
			/* The workers of an SQPOLL ring belong to the polling thread. */
			return client->flags & PF_IO_WORKER ? client->group_leader : client;
		}
	}
	return HOP(task)->group_leader;
}

/* Returns whether a command name, in COMM_BYTES, is that of the thread that the current task works for. */
static __always_inline bool current_is_called(const volatile char *comm)
{
	const volatile __u64 *wanted = (const volatile __u64 *)comm;
	__u64 is[2] = {};

	/* As a string: before 5.17 a shorter name leaves the end of a longer one behind it. */
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf))
		bpf_probe_read_kernel_str(is, sizeof(is), client_of_current()->comm);
	else
		bpf_get_current_comm(is, sizeof(is));
	return is[0] == wanted[0] && is[1] == wanted[1];
}

static __always_inline __u64 start_of_current(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf))
		return bpf_get_current_task_btf()->start_time;
	return BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), start_time);
}

#endif
