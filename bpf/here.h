/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What here.bpf.c tells user space. */
#ifndef IOSTRATA_HERE_H
#define IOSTRATA_HERE_H

/* The recorder as the kernel sees it. */
struct here {
	/* CLOCK_MONOTONIC of the initial time namespace. */
	__u64 now_ns;
	/* Process id in the initial namespace. */
	__u32 pid;
	/* How often the process has called exec, its ancestors included. */
	__u32 exec_id;
	/* Depth of its PID namespace: 0 is the initial one. */
	__u32 pid_namespace_level;
	/* Depth of its cgroup (version 2): the root is 0. */
	__u32 cgroup_level;
};

/* A thread that the recorder can see. */
struct task_record {
	/* In the initial namespace: the process, the thread, the parent process. */
	__u32 pid;
	__u32 tid;
	__u32 ppid;
	/* The process and the thread in the recorder's namespace. */
	__u32 local_pid;
	__u32 local_tid;
	__u32 reserved;
	/* When the process started. */
	__u64 start_ns;
};

#endif
