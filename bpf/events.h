/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Everything that crosses between kernel and user space, declared once. Rust uses the types that the skeleton generator
 * derives from this file. Values are raw: nanoseconds of CLOCK_MONOTONIC, bytes, kernel device numbers.
 */
#ifndef IOSTRATA_EVENTS_H
#define IOSTRATA_EVENTS_H

/*
 * Each class of events has its own books and fills one table. The classes are the first tables of the capture format (`TableId`), in the same
 * order; `classes.rs` checks that when it is compiled. Events of `share` come with records of `block`.
 */
enum event_class {
	CLASS_SYSCALL, CLASS_VFS, CLASS_FS, CLASS_BLOCK, CLASS_SHARE, CLASS_PROCESS, CLASS_FILE, CLASS_COUNT
};

/*
 * Operations: an identifier and the word that the capture format has for it. Both sides take the words from
 * `op_names`, so a new operation is added here and in the capture format only. New ones go last.
 */
#define OPS(X)                                                                                                         \
	X(NONE, "")                                                                                                    \
	X(READ, "read") X(WRITE, "write")                                                                              \
	X(PREAD, "pread64") X(PWRITE, "pwrite64")                                                                      \
	X(READV, "readv") X(WRITEV, "writev")                                                                          \
	X(PREADV, "preadv") X(PWRITEV, "pwritev")                                                                      \
	X(PREADV2, "preadv2") X(PWRITEV2, "pwritev2")                                                                  \
	X(FSYNC, "fsync") X(FDATASYNC, "fdatasync") X(SYNC_FILE_RANGE, "sync_file_range")                              \
	X(SYNC, "sync") X(SYNCFS, "syncfs")                                                                            \
	X(OPEN, "open") X(OPENAT, "openat") X(OPENAT2, "openat2") X(CLOSE, "close")                                    \
	X(FLUSH, "flush") X(DEVICE_FLUSH, "device_flush")                                                              \
	X(DISCARD, "discard") X(SECURE_ERASE, "secure_erase") X(WRITE_ZEROES, "write_zeroes")                          \
	X(ZONE_APPEND, "zone_append") X(ZONE_MANAGEMENT, "zone_management")                                            \
	X(DRIVER_IN, "driver_in") X(DRIVER_OUT, "driver_out")                                                          \
	X(SENDFILE_IN, "sendfile_in") X(SENDFILE_OUT, "sendfile_out")                                                  \
	X(COPY_FILE_RANGE_IN, "copy_file_range_in") X(COPY_FILE_RANGE_OUT, "copy_file_range_out")                      \
	X(SPLICE_IN, "splice_in") X(SPLICE_OUT, "splice_out")                                                          \
	X(FALLOCATE, "fallocate") X(FTRUNCATE, "ftruncate") X(TRUNCATE, "truncate")                                    \
	X(UNLINK, "unlink") X(UNLINKAT, "unlinkat")                                                                    \
	X(RENAME, "rename") X(RENAMEAT, "renameat") X(RENAMEAT2, "renameat2") X(MSYNC, "msync")                        \
	X(AIO_READ, "aio_read") X(AIO_WRITE, "aio_write") X(AIO_FSYNC, "aio_fsync")                                    \
	X(URING_READ, "io_uring_read") X(URING_WRITE, "io_uring_write") X(URING_FSYNC, "io_uring_fsync")               \
	X(URING_SYNC_FILE_RANGE, "io_uring_sync_file_range") X(URING_FALLOCATE, "io_uring_fallocate")                  \
	X(FILL, "fill") X(FILL_WRITE, "fill_write") X(FAULT, "fault") X(DIRTY, "dirty") X(WRITEBACK, "writeback")      \
	X(COMMIT, "commit") X(SYNC_FILE, "sync_file") X(SYNC_FS, "sync_fs")                                            \
	X(URING_SPLICE_IN, "io_uring_splice_in") X(URING_SPLICE_OUT, "io_uring_splice_out")                            \
	X(CREAT, "creat") X(OPEN_BY_HANDLE_AT, "open_by_handle_at")

/*
 * Calls that were seen and have no row, by why their end is not known. The words are those of the capture format
 * (`WithoutRow`).
 */
#define UNSEEN(X)                                                                                                      \
	X(AIO_NOT_ASKED, "aio_not_asked") X(AIO_SAME_IOCB, "aio_same_iocb") X(URING_SKIPPED, "io_uring_skipped")        \
	X(URING_NOT_TOLD, "io_uring_not_told") X(COMPAT, "compat")

/* uapi/linux/io_uring.h: of later operations of io_uring nobody knows what they move (IORING_OP_LAST of Linux 6.18). */
enum known_opcode { FIRST_UNKNOWN_OPCODE = 63 };

#define X(id, word) UNSEEN_##id,
enum unseen_kind { UNSEEN(X) UNSEEN_COUNT };
#undef X

#define X(id, word) OP_##id,
enum op { OPS(X) OP_COUNT };
#undef X

/* What kind of file an operation was on. */
enum fd_kind { FD_UNKNOWN, FD_REGULAR, FD_BLOCK, FD_MEMORY, FD_DIRECTORY };

/* What a request carries. */
#define IO_CLASSES(X)                                                                                                  \
	X(DATA, "data") X(METADATA, "metadata") X(JOURNAL, "journal") X(READAHEAD, "readahead") X(SWAP, "swap")        \
	X(FLUSH, "flush") X(DISCARD, "discard")

/* How the owner of a request is known. */
#define EVIDENCES(X) X(NONE, "none") X(DIRECT, "direct") X(PAGE, "page") X(INODE, "inode") X(CGROUP, "cgroup")              \
	X(FOLIO, "folio")

/* Where a path begins: at the root of a mount namespace or of a file system; one that is cut, somewhere below. */
#define PATH_ORIGINS(X) X(NONE, "") X(NAMESPACE, "namespace") X(FILESYSTEM, "filesystem") X(CUT, "cut")

/* How a process came to touch a page of a file. */
#define VIAS(X) X(NONE, "") X(CALL, "call") X(MAPPING, "mapping")

#define X(id, word) IO_##id,
enum io_class { IO_CLASSES(X) IO_CLASS_COUNT };
#undef X

#define X(id, word) EVIDENCE_##id,
enum evidence { EVIDENCES(X) EVIDENCE_COUNT };
#undef X

#define X(id, word) VIA_##id,
enum via_word { VIAS(X) VIA_COUNT };
#undef X

#define X(id, word) PATH_FROM_##id,
enum path_origin { PATH_ORIGINS(X) PATH_ORIGIN_COUNT };
#undef X

/* Which part of the kernel made a bio, by the function that the bio calls at its end. */
enum maker {
	MAKER_UNKNOWN,
	/* O_DIRECT: the submitter's own data. Of two of its makers the bio leads to the file. */
	MAKER_DIRECT,
	MAKER_DIRECT_IOMAP,
	MAKER_DIRECT_DIO,
	/* Buffer heads: a journal's blocks, or pages of a block device. */
	MAKER_BUFFERS,
	MAKER_JOURNAL,
	MAKER_METADATA,
	MAKER_SWAP,
};

enum { MAX_MAKERS = 16, MAX_JOURNAL_ENDS = 4 };

struct known_maker {
	__u64 address;
	__u64 maker;
};

/* Request flags as the capture has them; the kernel's own bits move between versions. */
enum request_flag {
	REQUEST_SYNC = 1,
	REQUEST_META = 2,
	REQUEST_PRIO = 4,
	REQUEST_FUA = 8,
	REQUEST_PREFLUSH = 16,
	REQUEST_RAHEAD = 32,
	REQUEST_BACKGROUND = 64,
	REQUEST_NOWAIT = 128,
	REQUEST_SWAP = 256,
	REQUEST_UNCOUNTED = 512,
};

/* A missing value, for every signed field below. */
#define MISSING (-0x7fffffffffffffffLL - 1)

enum { COMM_BYTES = 16, FS_BYTES = 16, PATH_BYTES = 512, CMDLINE_BYTES = 512, CMDLINE_TAIL_BYTES = 256, WORD_BYTES = 24 };

/* Who did it. All zero: not known. */
struct identity {
	__u32 pid;
	__u32 tid;
	__u64 cgroup_id;
	char comm[COMM_BYTES];
};

/* At the front of every record. */
struct event_head {
	__u16 event_class;
	__u16 cpu;
	__u8 op;
	__u8 fd_kind;
	__u16 reserved;
	__s64 start_ns;
};

/* A system call or a VFS operation on a file. */
struct file_event {
	struct event_head head;
	struct identity who;
	__s64 duration_ns;
	__s64 offset_bytes;
	__s64 requested_bytes;
	__s64 ret;
	__s64 ino;
	__s32 dev;
	__s32 open_flags;
};

/* The record of a system call, where it is asked for how long these wait for a CPU. */
struct call_event {
	struct file_event file;
	/* MISSING where it is not known. */
	__s64 runnable_ns;
};

/* Where a block request comes from. */
struct origin {
	/* The owner. */
	struct identity who;
	/* When the owner's process started; 0: not known. */
	__u64 start_ns;
	/* The file, where its pages tell or its maker does; 0 where not. */
	__u64 ino;
	__u32 file_dev;
	/* The disk. */
	__u32 dev;
	/* What of the request is the owner's. */
	__u32 owned_bytes;
	__u8 evidence;
	__u8 io_class;
	/* There is a `struct submitter`. */
	__u8 has_submitter;
	/* How many parts there are beside the owner's. */
	__u8 others;
};

/* Who submitted it, where that is not the owner itself. */
struct submitter {
	__u32 pid;
	__u32 reserved;
	char comm[COMM_BYTES];
};

/* A completed block request. */
struct block_event {
	struct event_head head;
	__s64 duration_ns;
	__s64 queue_ns;
	__s64 insert_ns;
	__s64 sector;
	__u32 bytes;
	__s32 error;
	__u16 flags;
	__u16 bios;
	__u16 requeues;
	__u16 reserved;
	struct origin origin;
};

/* The record of one that `has_submitter`. */
struct block_event_submitted {
	struct block_event event;
	struct submitter submitter;
};

/* A part of a request: what is of one owner, one class and one file. */
struct part {
	struct identity who;
	__u64 start_ns;
	/* 0: none, or several. */
	__u64 ino;
	__u32 file_dev;
	__u32 bytes;
	__u8 evidence;
	__u8 io_class;
	__u8 reserved[6];
};

enum { MAX_PARTS = 8 };

/* The record of one with parts beside the owner's; of value are as many as its origin says. */
struct block_event_parts {
	struct block_event_submitted submitted;
	struct part others[MAX_PARTS - 1];
};

/* Something in a file system; `events` of one kind that one process did to one file, where they are many. */
struct fs_event {
	struct event_head head;
	struct identity who;
	/* From the first to the last of the events, or of the one. */
	__s64 duration_ns;
	/* The lowest of the events. */
	__s64 offset_bytes;
	__u64 bytes;
	__u64 events;
	__s64 ino;
	/* Of a journal. */
	__s64 blocks;
	__s32 dev;
	__u8 via;
	__u8 reserved[3];
	char fs[FS_BYTES];
};

/* Events that are being gathered. None: free. */
struct fs_slot {
	struct fs_event event;
	__u64 last_ns;
	/* i_generation */
	__u32 generation;
	/* A program is at work on it. */
	__u32 busy;
};

/* A process at its first I/O, after each exec, and in each cgroup. */
struct process_head {
	struct event_head head;
	/* The thread, but the name is that of the process. */
	struct identity who;
	__u64 process_start_ns;
	__u32 ppid;
	__u8 kernel_thread;
	/* enum path_origin */
	__u8 exe_origin;
	__u8 exe_components;
	__u8 cgroup_origin;
	__u8 cgroup_components;
	/* Something is missing between the two pieces of the command line. */
	__u8 cmdline_cut;
	__u16 cmdline_length;
	__u16 cmdline_tail_length;
	__u16 reserved;
};

enum { SHORT_PATH_BYTES = 96, SHORT_CMDLINE_BYTES = 160 };

/* The record of one whose texts are short, as most are. */
struct process_event_short {
	struct process_head process;
	/* Names from the executable up to the root, each ended by a NUL. */
	char exe[SHORT_PATH_BYTES];
	char cgroup[SHORT_PATH_BYTES];
	char cmdline[SHORT_CMDLINE_BYTES];
};

struct process_event_long {
	struct process_head process;
	char exe[PATH_BYTES];
	char cgroup[PATH_BYTES];
	char cmdline[CMDLINE_BYTES];
	/* The end of one that is longer. */
	char cmdline_tail[CMDLINE_TAIL_BYTES];
};

/* A file when it was first met, or under a new name. */
struct name_event {
	struct event_head head;
	__s64 ino;
	__s32 dev;
	/* i_generation: tells the file from others that have its inode number at other times. */
	__u32 generation;
	/* Who met it. */
	__u32 pid;
	/* The mount namespace that the path is of. */
	__u32 mount_namespace;
	__u8 path_origin;
	__u8 components;
	/* No directory has it any more. */
	__u8 deleted;
	__u8 reserved[5];
	char fs[FS_BYTES];
	/* Names from the file up, each ended by a NUL. */
	char path[PATH_BYTES];
};

/* The books of one class on one CPU. */
struct account {
	__u64 seen;
	__u64 ring_full;
	__u64 inflight_full;
	/* Operations that the kernel did not tell the end of. */
	__u64 missed_return;
	/* What the lost events can have carried at most. */
	__u64 lost_read_ops;
	__u64 lost_read_bytes;
	__u64 lost_write_ops;
	__u64 lost_write_bytes;
	/* Calls that are over, though nothing told of their end; by kind in `unseen`. */
	__u64 unseen_end;
	/* Not losses, but told: requests whose queueing was not seen. */
	__u64 unidentified;
	/* Requests that were over without anyone seeing their end: recorded without a duration. */
	__u64 unseen_ends;
	/* Calls that were followed: begun, and of these ended. */
	__u64 calls_begun;
	__u64 calls_ended;
	/* Calls, and operations of aio and io_uring, that had begun before rows were made, and what they moved; those that did not end, at most. */
	__u64 earlier_calls;
	__u64 earlier_read_bytes;
	__u64 earlier_write_bytes;
	/* Operations of aio and io_uring: submitted, and of these recorded or lost; with what they carry at most. */
	__u64 async_begun;
	__u64 async_begun_read_bytes;
	__u64 async_begun_write_bytes;
	__u64 async_ended;
	__u64 async_ended_read_bytes;
	__u64 async_ended_write_bytes;
	/* Completions of io_uring that found the completion ring full. */
	__u64 uring_overflows;
	/* Calls of which it was asked, and is not known, for how long they waited for a CPU. */
	__u64 unmeasured;
	/* Of those whose I/O is recorded: file pages that turned dirty, and what of them went on its way to the device. */
	__u64 dirtied_bytes;
	__u64 cleaned_bytes;
	/* Pages that were written back and whose writer had been remembered and was not any more. */
	__u64 forgotten_bytes;
	/* How many entries the tables of owners were given: inodes, chunks of pages, writers. */
	__u64 inodes_remembered;
	__u64 chunks_remembered;
	__u64 writers_remembered;
};

/* Calls of one `unseen_kind`, and what they can have carried at most. */
struct unseen_calls {
	__u64 ops;
	__u64 read_ops;
	__u64 read_bytes;
	__u64 write_ops;
	__u64 write_bytes;
};

/* The recorder's own I/O on one device, by direction. */
struct own_io {
	__u64 read_ops;
	__u64 read_bytes;
	__u64 write_ops;
	__u64 write_bytes;
	__u64 discard_ops;
	__u64 discard_bytes;
};

/* What an owner filter leaves out of a disk's requests, by bios. */
struct left_out_io {
	/* Of processes that are not selected. The recorder's own are neither here nor there. */
	struct own_io others;
	/* Without an owner, before a selected process used the disk. */
	struct own_io before_use;
};

/* What a device filter says of a device number. */
enum device_use {
	/* Stands on no disk that is wanted. */
	DEVICE_LEFT_OUT,
	/* A partition of a wanted disk, or a file system that stands on one. */
	DEVICE_HAS_FILES,
	/* A wanted disk: its requests are recorded. */
	DEVICE_IS_DISK,
};

enum { MAX_LOWER_DISKS = 16, MAX_USED_DEVICES = 4096 };

/* The whole disks that a device stands on, all the way down; 0 ends the list. */
struct lower_disks {
	__u32 disk[MAX_LOWER_DISKS];
};

/*
 * What is recorded where not everything is: what begins in one of 2^shift moments. Words of their own, so that each can be set
 * while programs read the others; a change lies ahead when it is told of.
 */
struct sampling {
	__u64 shift_before;
	__u64 shift_after;
	__u64 change_ns;
};

/* File systems of which each write is told. */
enum told_writes { TOLD_WRITES_EXT4 = 1, TOLD_WRITES_XFS = 2 };

/*
 * Of the slots of a CPU in which events of the file system layer are gathered user space takes from so many at a time. What is left in
 * them, as bits: something that is not to be given yet, and something that is.
 */
enum giving { FS_SLOTS_A_RUN = 64, FS_LATER = 1, FS_DUE = 2 };

/* One run of a program in so many is timed. */
enum timing { TIMED_ONE_IN = 64 };

/* Set before the programs are loaded. The neutral value of each is zero. */
struct config {
	__u32 recorder_pid;
	__u32 ring_shards;
	__u64 wake_bytes;
	/* Bits: the classes whose rings lie behind those of the others, because there may be far more of them. */
	__u32 often_classes;
	__u32 filter_pid;
	/* The first of the disks to let through; the others are in a map. */
	__u32 filter_device;
	__u32 filter_cgroup;
	__u32 filter_comm;
	__u64 cgroup_id;
	/* The root of the recorder's mount of cgroups; 0: it has none. */
	__u64 cgroup_root;
	__u32 cgroup_level;
	/* The recorder runs a command: a process that it forks is recorded from that exec on, by the count of its execs. 0: none. */
	__u32 command_exec_id;
	/* There is a limit to the CPU time that all of this may take. */
	__u32 samples;
	__u64 sampling_seed;
	/* Pages tell by what call they were touched, so calls are followed that are not recorded. */
	__u32 follows_calls;
	/* It is measured for how long calls wait for a CPU. */
	__u32 run_queue;
	/* The kernel may not tell of the return of a VFS function: kretprobes run out. */
	__u32 misses_returns;
	/*
	 * Bits of rq_flags. User space looks them up: they were macros, then values of an enum without a name, which
	 * CO-RE cannot find.
	 */
	__u32 rqf_flush_seq_bit;
	__u32 rqf_io_stat_bit;
	/* How much is dirty is counted, because the recording may wait until it is written back. */
	__u32 counts_dirty;
	/* How many entries there are for pages. */
	__u32 page_chunks;
	/* enum told_writes */
	__u32 told_writes;
	char comm[COMM_BYTES];
	/* Addresses of kernel functions; 0: the kernel has none of the name, or does not tell. */
	struct known_maker makers[MAX_MAKERS];
	__u64 journal_ends[MAX_JOURNAL_ENDS];
	/* By system call number: enum op; the same of the 32-bit table. */
	__u8 syscall_op[512];
	__u8 compat_op[512];
};

#endif
