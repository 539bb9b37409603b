/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Data shared by kernel and user space, declared once. Rust uses the types that the skeleton generator derives from
 * this file. Values are raw: nanoseconds of CLOCK_MONOTONIC, bytes, kernel device numbers.
 */
#ifndef IOSTRATA_EVENTS_H
#define IOSTRATA_EVENTS_H

/*
 * Event classes. Each class has its own event accounting and fills one table. The classes are the first tables of the
 * capture format (`TableId`), in the same order; `classes.rs` checks the order at compile time. Events of `share` come
 * with records of `block`.
 */
enum event_class {
	CLASS_SYSCALL, CLASS_VFS, CLASS_FS, CLASS_BLOCK, CLASS_SHARE, CLASS_PROCESS, CLASS_FILE, CLASS_COUNT
};

/*
 * Operations: identifier and name in the capture format. Both sides take the names from `op_names`, so a new operation
 * is added here and in the capture format only. New operations go last.
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
 * Calls that were seen and have no row, by the reason why their end is unknown. The names are those of the capture
 * format (`WithoutRow`).
 */
#define UNSEEN(X)                                                                                                      \
	X(AIO_NOT_ASKED, "aio_not_asked") X(AIO_SAME_IOCB, "aio_same_iocb") X(URING_SKIPPED, "io_uring_skipped")        \
	X(URING_NOT_TOLD, "io_uring_not_told") X(COMPAT, "compat")

/* uapi/linux/io_uring.h: IORING_OP_LAST of Linux 6.18. The data transfer of this and later opcodes is unknown. */
enum known_opcode { FIRST_UNKNOWN_OPCODE = 63 };

/* Reason why a call has no row. */
#define X(id, word) UNSEEN_##id,
enum unseen_kind { UNSEEN(X) UNSEEN_COUNT };
#undef X

#define X(id, word) OP_##id,
enum op { OPS(X) OP_COUNT };
#undef X

/* Type of the file that an operation accesses. */
enum fd_kind { FD_UNKNOWN, FD_REGULAR, FD_BLOCK, FD_MEMORY, FD_DIRECTORY };

/* I/O classes: content of a request. */
#define IO_CLASSES(X)                                                                                                  \
	X(DATA, "data") X(METADATA, "metadata") X(JOURNAL, "journal") X(READAHEAD, "readahead") X(SWAP, "swap")        \
	X(FLUSH, "flush") X(DISCARD, "discard")

/* Evidence for the owner of a request. */
#define EVIDENCES(X) X(NONE, "none") X(DIRECT, "direct") X(PAGE, "page") X(INODE, "inode") X(CGROUP, "cgroup")              \
	X(FOLIO, "folio")

/*
 * Start of a path: the root of a mount namespace or of a file system. `cut`: a truncated path, which starts somewhere
 * below a root.
 */
#define PATH_ORIGINS(X) X(NONE, "") X(NAMESPACE, "namespace") X(FILESYSTEM, "filesystem") X(CUT, "cut")

/* Access by which a process touched a page of a file: a system call or a memory mapping. */
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

/* Part of the kernel that created a bio, identified by the completion function of the bio (bi_end_io). */
enum maker {
	MAKER_UNKNOWN,
	/* O_DIRECT: the submitter's own data. With _IOMAP and _DIO, the bio leads to the file. */
	MAKER_DIRECT,
	MAKER_DIRECT_IOMAP,
	MAKER_DIRECT_DIO,
	/* Buffer heads: blocks of a journal, or pages of a block device. */
	MAKER_BUFFERS,
	MAKER_JOURNAL,
	MAKER_METADATA,
	MAKER_SWAP,
};

enum { MAX_MAKERS = 16, MAX_JOURNAL_ENDS = 4 };

/* Completion function of the bios of one creator: address in the kernel and enum maker. */
struct known_maker {
	__u64 address;
	__u64 maker;
};

/* Addresses of kernel functions; 0: the kernel has no function of that name, or does not expose its address. */
struct makers {
	struct known_maker known[MAX_MAKERS];
	/* Completion functions of journal buffers. */
	__u64 journal_ends[MAX_JOURNAL_ENDS];
};

/* Request flags in the capture format. The kernel's own bits differ between versions. */
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

/* Missing value of every signed field below. */
#define MISSING (-0x7fffffffffffffffLL - 1)

enum { COMM_BYTES = 16, FS_BYTES = 16, PATH_BYTES = 512, CMDLINE_BYTES = 512, CMDLINE_TAIL_BYTES = 256, WORD_BYTES = 24 };

/* Thread that performed an operation. All zero: unknown. */
struct identity {
	__u32 pid;
	__u32 tid;
	__u64 cgroup_id;
	char comm[COMM_BYTES];
};

/* Header of every record. */
struct event_head {
	__u16 event_class;
	__u16 cpu;
	__u8 op;
	__u8 fd_kind;
	__u16 reserved;
	__s64 start_ns;
};

/* System call or VFS operation on a file. */
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

/* Record of a system call if run-queue latency is measured (`record --run-queue`). */
struct call_event {
	struct file_event file;
	/* Run-queue latency within the call. MISSING: unknown. */
	__s64 runnable_ns;
};

/* Origin of a block request. */
struct origin {
	/* Owner of the request. */
	struct identity who;
	/* Start time of the owner's process; 0: unknown. */
	__u64 start_ns;
	/* File, if the pages or the creator of the request identify it; otherwise 0. */
	__u64 ino;
	__u32 file_dev;
	/* Disk. */
	__u32 dev;
	/* Bytes of the request that belong to the owner. */
	__u32 owned_bytes;
	__u8 evidence;
	__u8 io_class;
	/* A `struct submitter` is present. */
	__u8 has_submitter;
	/* Number of parts besides the owner's. */
	__u8 others;
};

/* Submitter of a request, if it is not the owner itself. */
struct submitter {
	__u32 pid;
	__u32 reserved;
	char comm[COMM_BYTES];
};

/* Completed block request. */
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

/* Record of a request with `has_submitter`. */
struct block_event_submitted {
	struct block_event event;
	struct submitter submitter;
};

/* Part of a request: the bytes of one owner, one I/O class and one file. */
struct part {
	struct identity who;
	__u64 start_ns;
	/* 0: no file, or several files. */
	__u64 ino;
	__u32 file_dev;
	__u32 bytes;
	__u8 evidence;
	__u8 io_class;
	__u8 reserved[6];
};

enum { MAX_PARTS = 8 };

/* Record of a request with parts besides the owner's. Only the first `origin.others` elements are valid. */
struct block_event_parts {
	struct block_event_submitted submitted;
	struct part others[MAX_PARTS - 1];
};

/* Event in a file system, or an aggregate of many: `events` of one kind that one process caused on one file. */
struct fs_event {
	struct event_head head;
	struct identity who;
	/* Time from the first to the last event, or duration of the only one. */
	__s64 duration_ns;
	/* Lowest offset of the events. */
	__s64 offset_bytes;
	__u64 bytes;
	__u64 events;
	__s64 ino;
	/* Journal blocks. */
	__s64 blocks;
	__s32 dev;
	__u8 via;
	__u8 reserved[3];
	char fs[FS_BYTES];
};

/* Slot in which events are aggregated. `event.events` is 0: free. */
struct fs_slot {
	struct fs_event event;
	__u64 last_ns;
	/* i_generation */
	__u32 generation;
	/* A program is updating the slot. */
	__u32 busy;
};

/* Process record: emitted at the first I/O of a process, after each exec, and in each cgroup. */
struct process_head {
	struct event_head head;
	/* Thread that does the I/O; `comm` is the name of the process. */
	struct identity who;
	__u64 process_start_ns;
	__u32 ppid;
	__u8 kernel_thread;
	/* enum path_origin */
	__u8 exe_origin;
	__u8 exe_components;
	__u8 cgroup_origin;
	__u8 cgroup_components;
	/* A piece is missing between `cmdline` and `cmdline_tail`. */
	__u8 cmdline_cut;
	__u16 cmdline_length;
	__u16 cmdline_tail_length;
	__u16 reserved;
};

enum { SHORT_PATH_BYTES = 96, SHORT_CMDLINE_BYTES = 160 };

/* Process record with short strings, which is the common case. */
struct process_event_short {
	struct process_head process;
	/* Path components from the executable up to the root, each terminated by a NUL. */
	char exe[SHORT_PATH_BYTES];
	char cgroup[SHORT_PATH_BYTES];
	char cmdline[SHORT_CMDLINE_BYTES];
};

struct process_event_long {
	struct process_head process;
	char exe[PATH_BYTES];
	char cgroup[PATH_BYTES];
	char cmdline[CMDLINE_BYTES];
	/* End of a command line that does not fit in `cmdline`. */
	char cmdline_tail[CMDLINE_TAIL_BYTES];
};

/* File record: emitted when a file is first seen, or under a new name. */
struct name_event {
	struct event_head head;
	__s64 ino;
	__s32 dev;
	/* i_generation: distinguishes the file from others that have its inode number at other times. */
	__u32 generation;
	/* Process that accessed the file. */
	__u32 pid;
	/* Mount namespace of the path. */
	__u32 mount_namespace;
	__u8 path_origin;
	__u8 components;
	/* No directory entry for the file is left. */
	__u8 deleted;
	__u8 reserved[5];
	char fs[FS_BYTES];
	/* Path components from the file upwards, each terminated by a NUL. */
	char path[PATH_BYTES];
};

/* I/O in each direction. */
struct io_amounts {
	__u64 read_ops;
	__u64 read_bytes;
	__u64 write_ops;
	__u64 write_bytes;
};

/* Event accounting of one class on one CPU. Losses are counted by cause. */
struct account {
	__u64 seen;
	__u64 ring_full;
	__u64 inflight_full;
	/* Operations that ended without a return event from the kernel. */
	__u64 missed_return;
	/* Upper bound of the I/O in lost events. */
	struct io_amounts lost_io;
	/* Calls that have ended without an end event; by kind in `unseen`. */
	__u64 unseen_end;
	/* Not lost, but reported: requests that were not seen when they were queued. */
	__u64 unidentified;
	/* Requests with an unseen completion: recorded without a duration. */
	__u64 unseen_ends;
	/* Not lost, and not seen: requests that took less than `min_latency_ns`. */
	__u64 short_requests;
	struct io_amounts short_io;
	/* Tracked calls: begun and, of these, ended. */
	__u64 calls_begun;
	__u64 calls_ended;
	/*
	 * Calls and operations of aio and io_uring that began before the recording, and the bytes that they moved. An
	 * upper bound for those that did not end.
	 */
	__u64 earlier_calls;
	__u64 earlier_read_bytes;
	__u64 earlier_write_bytes;
	/* Operations of aio and io_uring: submitted and, of these, recorded or lost; with upper bounds of their bytes. */
	__u64 async_begun;
	__u64 async_begun_read_bytes;
	__u64 async_begun_write_bytes;
	__u64 async_ended;
	__u64 async_ended_read_bytes;
	__u64 async_ended_write_bytes;
	/* io_uring completions that found the completion queue full. */
	__u64 uring_overflows;
	/* Calls with an unknown run-queue latency although it is measured. */
	__u64 unmeasured;
	/* Bytes of file pages of recorded processes: dirtied and, of these, submitted for writeback. */
	__u64 dirtied_bytes;
	__u64 cleaned_bytes;
	/* Bytes of pages that were written back after the entry of their writer was evicted. */
	__u64 forgotten_bytes;
	/* Entries added to the owner tables: inodes, chunks of pages, writers. */
	__u64 inodes_remembered;
	__u64 chunks_remembered;
	__u64 writers_remembered;
};

/* Calls of one `unseen_kind`, with upper bounds of their I/O. */
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

/* I/O of a disk that an owner filter excludes, counted by bio. */
struct left_out_io {
	/* I/O of processes that are not selected. The recorder's own I/O is in neither sum. */
	struct own_io others;
	/* I/O without an owner, before a selected process used the disk. */
	struct own_io before_use;
};

/* Result of a device filter for a device number. */
enum device_use {
	/* Not on a selected disk. */
	DEVICE_LEFT_OUT,
	/* Partition of a selected disk, or file system on one. */
	DEVICE_HAS_FILES,
	/* Selected disk: its requests are recorded. */
	DEVICE_IS_DISK,
};

enum { MAX_LOWER_DISKS = 16, MAX_USED_DEVICES = 4096 };

/* Whole disks below a device, down through all levels; 0 ends the list. */
struct lower_disks {
	__u32 disk[MAX_LOWER_DISKS];
};

/*
 * Sampling factor: operations that begin in one of 2^shift time slices are recorded. `change_ns` is the time of the
 * change from `shift_before` to `shift_after`; it lies in the future when it is set. Separate words, so that each can
 * be set while programs read the others.
 */
struct sampling {
	__u64 shift_before;
	__u64 shift_after;
	__u64 change_ns;
};

/* File systems with an event for each write. */
enum told_writes { TOLD_WRITES_EXT4 = 1, TOLD_WRITES_XFS = 2 };

/*
 * Number of slots of a CPU that user space drains at once, in which events of the file system layer are aggregated.
 * Bits for what remains in them: FS_LATER, a record that is not due yet; FS_DUE, a record that is due.
 */
enum giving { FS_SLOTS_A_RUN = 64, FS_LATER = 1, FS_DUE = 2 };

/* Sampling factor of run times: one program run in TIMED_ONE_IN is timed. */
enum timing { TIMED_ONE_IN = 64 };

/* Set before the programs are loaded. The neutral value of each field is zero. */
struct config {
	__u32 recorder_pid;
	__u32 ring_shards;
	__u64 wake_bytes;
	/*
	 * Bits: frequent event classes. Their rings follow those of the other classes, because their events may be far
	 * more frequent.
	 */
	__u32 often_classes;
	__u32 filter_pid;
	/* First selected disk; the others are in the map `devices`. */
	__u32 filter_device;
	__u32 filter_cgroup;
	__u32 filter_comm;
	__u64 cgroup_id;
	/* Root of the recorder's cgroup mount; 0: it has no mount. */
	__u64 cgroup_root;
	__u32 cgroup_level;
	/*
	 * The recorder runs a command. A process that it forks is recorded from the exec with this `self_exec_id`. 0:
	 * no command.
	 */
	__u32 command_exec_id;
	/* The CPU time of the programs and the recorder is limited (`--cpu-limit`), so events may be sampled. */
	__u32 samples;
	__u64 sampling_seed;
	/* Pages are attributed to the call that touched them, so calls that are not recorded are tracked too. */
	__u32 follows_calls;
	/* The run-queue latency of calls is measured. */
	__u32 run_queue;
	/* The kernel may miss the return of a VFS function: kretprobe instances run out. */
	__u32 misses_returns;
	/*
	 * Bits of rq_flags. User space looks them up: they were macros, then values of an anonymous enum, which CO-RE
	 * cannot find.
	 */
	__u32 rqf_flush_seq_bit;
	__u32 rqf_io_stat_bit;
	/* Dirty bytes are counted, because the recording may wait until they are written back. */
	__u32 counts_dirty;
	/* Block requests that take less than this, from queueing to completion, are not recorded, but counted. */
	__u64 min_latency_ns;
	/* The files of bios are named, because no call names them. */
	__u32 names_files;
	/* Number of entries in `page_owners`. */
	__u32 page_chunks;
	/* enum told_writes */
	__u32 told_writes;
	char comm[COMM_BYTES];
	struct makers makers;
	/* enum op by system call number; `compat_op` is that of the 32-bit table. */
	__u8 syscall_op[512];
	__u8 compat_op[512];
};

#endif
