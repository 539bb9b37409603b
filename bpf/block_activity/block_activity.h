/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Data that block_activity.bpf.c shares with user space. */
#ifndef IOSTRATA_BLOCK_ACTIVITY_H
#define IOSTRATA_BLOCK_ACTIVITY_H

/* What is told apart, at the cost of more work for each request. */
enum detail { DETAIL_DISKS, DETAIL_OWNERS, DETAIL_FILES };

/* Owner of a request. */
enum owner_kind {
	/* No process: the class of the data says what it is. */
	OWNER_NONE,
	OWNER_PROCESS,
	/* Several processes have changed the file since it was clean. */
	OWNER_SEVERAL,
	/* The table had no room for the owner: the sums are those of the disk. */
	OWNER_LEFT_OUT,
	/* No owner: `requests` is the number of sums of owners in the table. */
	OWNER_COUNT,
};

/* Owner of a request, and its file. */
struct request_owner {
	/* Process: id and start time. 0 without OWNER_PROCESS. */
	__u64 start_ns;
	__u32 pid;
	/* File: kernel device number and inode number. 0: unknown, or files are not told apart. */
	__u32 file_dev;
	__u64 ino;
	/* i_generation: distinguishes an inode from a later one with its number, and those of two btrfs subvolumes. */
	__u32 generation;
	__u32 reserved;
};

/* What is summed together. */
struct activity_key {
	struct request_owner owner;
	__u32 dev;
	/* enum op */
	__u8 op;
	/* enum owner_kind */
	__u8 kind;
	/* enum io_class; IO_DATA with a process, whose classes are summed. */
	__u8 io_class;
	/* CPUs that complete requests add to sums of their own, up to ACTIVITY_SHARDS. */
	__u8 shard;
};

enum { ACTIVITY_SHARDS = 8 };

/* Size of a table of sums, and its part for owners. The rest is for the sums of disks: shards, operations. */
enum table_size { MAX_SUMS = 8192, MAX_OWNER_SUMS = 7680 };

/*
 * Latencies in us: the first four have one value each, then there are four to each power of two. The last one also has
 * all above.
 */
enum { LATENCY_SLOTS = 128 };

/* Sums of an interval. */
struct activity {
	__u64 requests;
	__u64 bytes;
	__u64 duration_ns;
	/* Of two CPUs of one shard that set it at once, one may lose. */
	__u64 max_ns;
	__u32 latency[LATENCY_SLOTS];
};

struct process_key {
	__u64 start_ns;
	__u32 pid;
	__u32 reserved;
};

struct process_name {
	/* Of its main thread. */
	char comm[COMM_BYTES];
	__u64 cgroup_id;
};

struct file_key {
	__u64 ino;
	__u32 dev;
	__u32 generation;
};

struct file_name {
	/* Names from the file up to the root of its file system, each with its NUL. */
	char path[PATH_BYTES];
	__u32 components;
	/* enum path_origin */
	__u32 origin;
};

#endif
