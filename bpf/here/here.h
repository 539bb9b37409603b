/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Data that here.bpf.c passes to user space. */
#ifndef IOSTRATA_HERE_H
#define IOSTRATA_HERE_H

/* The recorder as the kernel sees it. */
struct here {
	/* CLOCK_MONOTONIC of the initial time namespace. */
	__u64 now_ns;
	/* Process ID in the initial namespace. */
	__u32 pid;
	/* Number of execs of the process, its ancestors included. */
	__u32 exec_id;
	/* Depth of its PID namespace: 0 is the initial one. */
	__u32 pid_namespace_level;
	/* Depth of its cgroup (version 2): the root is 0. */
	__u32 cgroup_level;
};

/* Thread that the recorder can see. */
struct task_record {
	/* In the initial namespace: the process, the thread, the parent process. */
	__u32 pid;
	__u32 tid;
	__u32 ppid;
	/* The process and the thread in the recorder's namespace. */
	__u32 local_pid;
	__u32 local_tid;
	__u32 reserved;
	/* Start time of the process. */
	__u64 start_ns;
};

/* Kernel's I/O counters of one thread, as in /proc/PID/task/TID/io. */
struct task_io {
	/* The process and the thread in the initial namespace. */
	__u32 pid;
	__u32 tid;
	/* Start time of the process. */
	__u64 start_ns;
	/* Bytes that calls of the thread moved: rchar and wchar. */
	__u64 read_bytes;
	__u64 write_bytes;
	/* The same of all threads of its process that have ended. */
	__u64 ended_read_bytes;
	__u64 ended_write_bytes;
};

#endif
