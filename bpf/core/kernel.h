/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kernel types that the programs read, each with only the members that are read. CO-RE relocates every access to the
 * member's offset in the running kernel, so order, size and other members do not matter. bpf_core_field_exists() tests
 * for a member that only some kernels have. An alternative layout of a type is named ___ and the last kernel version
 * that has it, or `___since_` and the first.
 */
#ifndef IOSTRATA_KERNEL_H
#define IOSTRATA_KERNEL_H

/* libbpf's headers use the kernel's own register names if this is defined. */
#define __VMLINUX_H__

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;

enum { false = 0, true = 1 };

/* uapi/linux/bpf.h: values that libbpf's headers and the programs use. */
enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_HASH = 5,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_RINGBUF = 27,
};
enum { EEXIST = 17 };
enum { BPF_ANY = 0, BPF_NOEXIST = 1, BPF_EXIST = 2 };
enum { BPF_RB_NO_WAKEUP = 1, BPF_RB_FORCE_WAKEUP = 2 };
enum bpf_func_id { BPF_FUNC_get_current_task_btf = 158, BPF_FUNC_task_pt_regs = 175 };

/* Types are matched with the vmlinux BTF by name; the attribute makes every access below relocatable. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct pt_regs { /* x86-64: arch/x86/include/asm/ptrace.h */
	unsigned long r10, r9, r8, ax, bx, dx, si, di, orig_ax, ip, sp, bp, cx;
};

struct qstr {
	__u32 hash;
	const unsigned char *name;
};

struct file_system_type {
	const char *name;
};

struct super_block {
	__u32 s_dev;
	struct file_system_type *s_type;
	unsigned long s_flags;
	unsigned long s_magic;
	struct block_device *s_bdev;
	struct dentry *s_root;
};

struct hlist_node {
	struct hlist_node *next;
};

struct hlist_head {
	struct hlist_node *first;
};

struct address_space;

struct rw_semaphore {
	struct {
		long counter;
	} owner;
};

struct inode {
	__u16 i_mode;
	unsigned long i_ino;
	struct address_space *i_mapping;
	struct super_block *i_sb;
	__u32 i_rdev;
	__u32 i_generation;
	unsigned int i_nlink;
	__s64 i_size;
	struct hlist_head i_dentry;
	struct rw_semaphore i_rwsem;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	struct super_block *d_sb;
	union {
		struct hlist_node d_alias;
	} d_u;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct ns_common {
	unsigned int inum;
};

struct mnt_namespace { /* fs/mount.h */
	struct ns_common ns;
};

struct mount { /* fs/mount.h */
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
	struct mnt_namespace *mnt_ns;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

typedef struct {
	__s64 counter;
} atomic64_t;

typedef struct { /* include/linux/file_ref.h: 0 is one reference */
	atomic64_t refcnt;
} file_ref_t;

struct file {
	struct path f_path;
	struct inode *f_inode;
	unsigned int f_flags;
	__s64 f_pos;
	file_ref_t f_ref;
};

/* Until 6.12. */
struct file___6_12 {
	atomic64_t f_count;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

typedef struct {
	int counter;
} atomic_t;

struct files_struct {
	atomic_t count;
	struct fdtable *fdt;
};

struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
	struct file *exe_file;
};

struct thread_info {
	__u32 status;
};

struct kernfs_node {
	struct kernfs_node *parent;
	const char *name;
	__u64 id;
};

struct kernfs_node___since_6_15 {
	struct kernfs_node *__parent;
};

struct cgroup {
	int level;
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

typedef struct {
	unsigned long sig[1];
} sigset_t;

struct sigpending {
	sigset_t signal;
};

struct task_io_accounting { /* include/linux/task_io_accounting.h */
	__u64 rchar;
	__u64 wchar;
};

struct signal_struct {
	struct sigpending shared_pending;
	struct task_io_accounting ioac;
};

struct sigaction {
	void *sa_handler;
	unsigned long sa_flags;
};

struct k_sigaction {
	struct sigaction sa;
};

struct sighand_struct {
	struct k_sigaction action[64];
};

struct pid_namespace {
	unsigned int level;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1];
};

struct task_struct {
	struct thread_info thread_info;
	void *stack;
	unsigned int flags;
	int pid;
	int tgid;
	__u64 start_time;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct mm_struct *mm;
	struct files_struct *files;
	__u64 self_exec_id;
	unsigned long maj_flt;
	struct css_set *cgroups;
	struct pid *thread_pid;
	void *worker_private;
	struct signal_struct *signal;
	struct task_io_accounting ioac;
	struct sighand_struct *sighand;
	struct sigpending pending;
	sigset_t blocked;
	char comm[16];
	unsigned int __state;
};

struct task_struct___5_13 {
	long state;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

struct io_wq { /* io_uring/io-wq.c */
	struct task_struct *task;
};

struct io_worker { /* io_uring/io-wq.c: `worker_private` of an io_uring worker */
	struct io_wq *wq;
};

struct iovec {
	void *iov_base;
	unsigned long iov_len;
};

struct iov_iter {
	unsigned long count;
};

struct xarray {
	unsigned int xa_flags;
};

struct address_space {
	struct inode *host;
	struct xarray i_pages;
	struct {
		int counter;
	} i_mmap_writable;
};

struct page {
	unsigned long compound_head;
};

/* Before 5.16, without folios. */
struct page___before_folio {
	struct address_space *mapping;
	unsigned long index;
};

struct folio {
	struct address_space *mapping;
	unsigned long index;
	unsigned int _nr_pages;
};

/* Until 6.14. */
struct folio___6_14 {
	unsigned int _folio_nr_pages;
};

struct bio_vec {
	struct page *bv_page;
	unsigned int bv_len;
	unsigned int bv_offset;
};

struct bvec_iter {
	__u64 bi_sector;
	unsigned int bi_size;
	unsigned int bi_idx;
	unsigned int bi_bvec_done;
};

struct request_queue {
	const void *mq_ops;
};

struct gendisk {
	int major;
	int first_minor;
	struct request_queue *queue;
};

struct block_device {
	struct gendisk *bd_disk;
	void *bd_holder;
};

/* Until 6.5 a mounted block device refers to its super block. */
struct block_device___6_5 {
	struct super_block *bd_super;
};

struct bdev_inode { /* block/bdev.c, fs/block_dev.c */
	struct block_device bdev;
	struct inode vfs_inode;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
};

struct blkcg {
	struct cgroup_subsys_state css;
};

struct blkcg_gq {
	struct blkcg *blkcg;
};

struct buffer_head {
	void *b_end_io;
};

struct bio {
	struct bio *bi_next;
	struct block_device *bi_bdev;
	struct bvec_iter bi_iter;
	unsigned int bi_opf;
	unsigned char bi_status;
	struct blkcg_gq *bi_blkg;
	void *bi_end_io;
	void *bi_private;
	unsigned short bi_vcnt;
	struct bio_vec *bi_io_vec;
};

/* Before 5.12 a bio refers to its disk and a partition number. */
struct bio___5_11 {
	struct gendisk *bi_disk;
};

struct request {
	struct request_queue *q;
	unsigned int cmd_flags;
	unsigned int rq_flags;
	unsigned int __data_len;
	__u64 __sector;
	struct bio *bio;
	struct bio *biotail;
	__u64 start_time_ns;
};

/* Before 5.17 a request refers to its disk (kernel commit f3fa33acca9f). */
struct request___5_16 {
	struct gendisk *rq_disk;
};

struct request_queue___since_5_15 {
	struct gendisk *disk;
};

struct kiocb {
	struct file *ki_filp;
	__s64 ki_pos;
	int ki_flags;
};

struct iomap_dio { /* fs/iomap/direct-io.c */
	struct kiocb *iocb;
};

struct dio { /* fs/direct-io.c */
	struct inode *inode;
};

struct io_rw { /* io_uring/rw.c: overlays the start of a request */
	struct kiocb kiocb;
	__u64 addr;
	__u32 len;
};

struct io_splice { /* io_uring/splice.c: overlays the start of a request */
	__s64 off_out;
	__s64 off_in;
	__u64 len;
	int splice_fd_in;
	unsigned int flags;
};

struct io_cqe { /* the request's file descriptor, until the file is looked up */
	int fd;
};

struct io_kiocb {
	struct file *file;
	__u8 opcode;
	__u64 flags;
	struct io_cqe cqe;
};

struct io_uring_cqe {
	__s32 res;
};

struct writeback_control {
	long nr_to_write;
};

struct xfs_inode { /* fs/xfs/xfs_inode.h */
	struct inode i_vnode;
};

struct btrfs_fs_info { /* fs/btrfs/fs.h */
	struct super_block *sb;
};

struct transaction_s;

struct journal_s { /* include/linux/jbd2.h */
	int j_blocksize;
};

struct transaction_run_stats_s {
	__u32 rs_blocks_logged;
};

struct linux_binprm;

/* Since 6.4 (kernel/vhost_task.c): threads of a process that never return to user space. */
struct vhost_task {
	void *data;
};

#pragma clang attribute pop

/* The values of these enums differ between kernels: read them with bpf_core_enum_value(). */
enum pageflags { PG_head = 6 };

enum req_op {
	REQ_OP_READ = 0,
	REQ_OP_WRITE = 1,
	REQ_OP_FLUSH = 2,
	REQ_OP_DISCARD = 3,
	REQ_OP_SECURE_ERASE = 5,
	REQ_OP_WRITE_ZEROES = 9,
	REQ_OP_ZONE_APPEND = 7,
	REQ_OP_DRV_IN = 34,
	REQ_OP_DRV_OUT = 35,
};

/* `enum req_opf` until 6.0; zone append is the only operation used here with another number. */
enum { REQ_OP_ZONE_APPEND_UNTIL_6_0 = 13 };

enum req_flag_bits {
	__REQ_SYNC = 11,
	__REQ_META = 12,
	__REQ_PRIO = 13,
	__REQ_FUA = 17,
	__REQ_PREFLUSH = 18,
	__REQ_RAHEAD = 19,
	__REQ_BACKGROUND = 20,
	__REQ_NOWAIT = 21,
	__REQ_SWAP = 24,
};

enum { REQ_OP_MASK = 0xff };

/* include/linux/sched.h, arch/x86/include/asm/thread_info.h */
enum { PF_IO_WORKER = 0x10, PF_WQ_WORKER = 0x20, PF_USER_WORKER = 0x4000, PF_KSWAPD = 0x20000, PF_LOCAL_THROTTLE = 0x100000, PF_KTHREAD = 0x200000, TS_COMPAT = 2 };

/* uapi/linux/stat.h */
enum { S_IFMT = 0170000, S_IFREG = 0100000, S_IFBLK = 0060000, S_IFDIR = 0040000, S_IFCHR = 0020000 };

/* include/linux/miscdevice.h: MKDEV(MISC_MAJOR, FUSE_MINOR), /dev/fuse. */
enum { FUSE_DEVICE = 10 << 20 | 229 };

/* uapi/asm-generic/fcntl.h, uapi/linux/fs.h, include/linux/fs.h */
enum { O_APPEND = 02000, RWF_APPEND = 0x10, IOCB_APPEND = 0x10 };

/* include/linux/fs.h, MAX_RW_COUNT: maximum bytes per call. */
static const __s64 MOST_BYTES = 0x7ffff000;

/* uapi/asm-generic/signal-defs.h */
enum { SA_RESTART = 0x10000000 };

/* arch/x86/entry/syscalls/syscall_64.tbl */
enum {
	NR_MSYNC = 26,
	NR_FSYNC = 74,
	NR_FDATASYNC = 75,
	NR_SYNC = 162,
	NR_IO_GETEVENTS = 208,
	NR_IO_SUBMIT = 209,
	NR_SYNC_FILE_RANGE = 277,
	NR_SYNCFS = 306,
	NR_IO_PGETEVENTS = 333,
};

/* uapi/linux/btrfs_tree.h: BTRFS_BTREE_INODE_OBJECTID. Its pages are the trees of the file system. */
enum { BTRFS_BTREE_INODE = 1 };

/* uapi/linux/magic.h */
enum {
	TMPFS_MAGIC = 0x01021994,
	RAMFS_MAGIC = 0x858458f6,
	HUGETLBFS_MAGIC = 0x958458f6,
	PROC_SUPER_MAGIC = 0x9fa0,
	SYSFS_MAGIC = 0x62656572,
	CGROUP_SUPER_MAGIC = 0x27e0eb,
	CGROUP2_SUPER_MAGIC = 0x63677270,
	DEBUGFS_MAGIC = 0x64626720,
	TRACEFS_MAGIC = 0x74726163,
	SECURITYFS_MAGIC = 0x73636673,
	SELINUX_MAGIC = 0xf97cff8c,
	CONFIGFS_MAGIC = 0x62656570,
	BPF_FS_MAGIC = 0xcafe4a11,
	PSTOREFS_MAGIC = 0x6165676c,
	EXT4_SUPER_MAGIC = 0xef53,
	XFS_SUPER_MAGIC = 0x58465342,
	BTRFS_SUPER_MAGIC = 0x9123683E,
	OVERLAYFS_SUPER_MAGIC = 0x794c7630,
	ECRYPTFS_SUPER_MAGIC = 0xf15f,
	EFIVARFS_MAGIC = 0xde5e81e4,
	DEVPTS_SUPER_MAGIC = 0x1cd1,
	PIPEFS_MAGIC = 0x50495045,
	SOCKFS_MAGIC = 0x534f434b,
	ANON_INODE_FS_MAGIC = 0x09041934,
	NSFS_MAGIC = 0x6e736673,
	BINFMTFS_MAGIC = 0x42494e4d,
	SECRETMEM_MAGIC = 0x5345434d,
	PID_FS_MAGIC = 0x50494446,
	SMACK_MAGIC = 0x43415d53,
	AAFS_MAGIC = 0x5a3c69f0,
	RDTGROUP_SUPER_MAGIC = 0x7655821,
	XENFS_SUPER_MAGIC = 0xabba1974,
};

/*
 * Magic numbers that only the sources of their file systems define: ipc/mqueue.c, fs/nfsd/nfsctl.c, fs/fuse/control.c,
 * virt/kvm/guest_memfd.c
 */
enum {
	MQUEUE_MAGIC = 0x19800202,
	NFSD_MAGIC = 0x6e667364,
	FUSE_CTL_MAGIC = 0x65735543,
	GUEST_MEMORY_MAGIC = 0x474d454d,
};

/* include/linux/fs.h */
static const unsigned long SB_NOUSER = 1UL << 31;

#endif
