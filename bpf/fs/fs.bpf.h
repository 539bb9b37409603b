/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File system layer: pages that enter the page cache, become dirty and are written back, journal commits, syncs. */
#ifndef IOSTRATA_FS_H
#define IOSTRATA_FS_H

#include "owner/owner.bpf.h"
#include "syscall/calls.bpf.h"

struct fs_call_key {
	__u32 tid;
	__u32 op;
};

struct fs_call {
	__u64 start_ns;
	__u64 bytes;
};

/*
 * Key: thread and operation; value: the operation in flight. Written at the start of an operation, deleted at its end.
 * LRU: an evicted operation is recorded without a duration.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct fs_call_key);
	__type(value, struct fs_call);
} fs_calls SEC(".maps");

/*
 * Key: thread ID; value: its count of major faults at its last page cache fill by a fault, plus its start time: another
 * thread may have had its ID, and as many faults. Written by gather_fault(). LRU: after an eviction a fault may count
 * twice.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, __u64);
} last_faults SEC(".maps");

/* Emits the record of a single event, for the current task. */
static __always_inline void emit_fs_event(struct fs_event *event, __u8 op, __u64 start_ns, __u64 end_ns)
{
	struct account *account = account_of(CLASS_FS);

	if (!account || !makes_rows())
		return;
	account->seen++;
	fill_head(&event->head, CLASS_FS, op, event->head.fd_kind, start_ns ? start_ns : end_ns);
	identify_current(&event->who);
	event->events = 1;
	tell_current(event->head.start_ns);
	hand_over(event, account, start_ns ? end_ns - start_ns : MISSING);
}

/* Returns whether an inode is a block device, or internal to a file system: a call on a file changes their pages too. */
static __always_inline bool is_metadata_inode(struct inode *inode)
{
	return (inode->i_mode & S_IFMT) != S_IFREG || is_allocators(inode);
}

static __always_inline bool is_own_file(struct file_op *call, struct inode *inode)
{
	return call->ino == inode->i_ino && call->dev == dev_of_inode(inode);
}

/* Returns the call in flight for which a page of `inode` is touched: OP_NONE if there is none, or if it is on other files. */
static __always_inline __u8 call_on(struct inode *inode, bool *on_others)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct file_op *call = call_in_flight(tid), *target;

	if (!call || call->op == OP_NONE || call->ino == MISSING)
		return OP_NONE;
	if (is_own_file(call, inode))
		return call->op;
	target = call->has_target ? target_in_flight(tid) : 0;
	if (target && is_own_file(target, inode))
		return target->op;
	/* The pages of a stacked file are another file's. */
	if (call->stacked)
		return call->op;
	if (target && target->stacked)
		return target->op;
	*on_others = true;
	return OP_NONE;
}

static __always_inline bool is_writing(__u8 op)
{
	return is_write(op) || op == OP_SENDFILE_OUT || op == OP_COPY_FILE_RANGE_OUT || op == OP_SPLICE_OUT;
}

/*
 * Returns whether a page enters the page cache to be changed: then its inode is locked for writing by the current task,
 * whatever requested it (a call, io_uring, a worker of either, the loop driver, a server in the kernel). If the lock
 * does not record its owner (PREEMPT_RT), `call` decides.
 */
static __always_inline bool fills_to_write(struct inode *inode, __u8 call)
{
	if (!bpf_core_field_exists(inode->i_rwsem.owner))
		return is_writing(call);
	return (__u64)inode->i_rwsem.owner.counter == bpf_get_current_task();
}

/*
 * Returns how the current process touches a page. A fault of user memory has no system call; the entry code marks it. A
 * fault within a call, which the kernel takes on behalf of the caller's buffer, is on another file than the call's.
 */
static __always_inline __u8 via_of_current(bool on_others)
{
	struct pt_regs *registers;

	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs) || current_is_kernel_thread())
		return VIA_NONE;
	/* A fault of such a thread on a mapping counts as its call, too: nothing distinguishes the two. */
	if (current_is_io_worker())
		return VIA_CALL;
	registers = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	return (long)BPF_CORE_READ(registers, orig_ax) == -1 || on_others ? VIA_MAPPING : VIA_CALL;
}

/* Counts a major fault, at its first fill: the thread's count is the same for all fills of one fault. */
static __always_inline void gather_fault(struct inode *inode)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 faults = task->start_time + task->maj_flt, *last;

	last = bpf_map_lookup_elem(&last_faults, &tid);
	if (last && *last == faults)
		return;
	bpf_map_update_elem(&last_faults, &tid, &faults, BPF_ANY);
	gather_fs(inode, OP_FAULT, VIA_MAPPING, MISSING, PAGE_BYTES);
}

/*
 * Returns whether pages enter the page cache to be overwritten completely by a task that makes no calls: jbd2's thread
 * takes the blocks of its log into the device's page cache, fills them, and reads none.
 */
static __always_inline bool writes_journal(void)
{
	char comm[COMM_BYTES] = {};

	if (!current_is_kernel_thread())
		return false;
	bpf_get_current_comm(comm, sizeof(comm));
	return is_journal_thread(comm);
}

static __always_inline int page_filled(struct inode *inode, __u64 index, __u64 bytes)
{
	bool on_others = false;
	__u8 call = call_on(inode, &on_others), via = via_of_current(on_others && !is_metadata_inode(inode));

	if (via == VIA_MAPPING && bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
		gather_fault(inode);
	gather_fs(inode, fills_to_write(inode, call) || writes_journal() ? OP_FILL_WRITE : OP_FILL, via, index * PAGE_BYTES, bytes);
	return 0;
}

static __always_inline int page_turned_dirty(struct address_space *mapping, __u64 index, __u64 bytes)
{
	struct inode *inode;
	bool on_others = false;

	/* The tracepoint allows pages without a file. */
	if (!mapping)
		return 0;
	inode = HOP(mapping)->host;
	call_on(inode, &on_others);
	gather_fs(inode, OP_DIRTY, via_of_current(on_others && !is_metadata_inode(inode)), index * PAGE_BYTES, bytes);
	return 0;
}

/*
 * mm_filemap_add_to_page_cache: a folio enters the page cache. Aggregated by process, file and access. The oldest
 * variant of the tracepoint passes a page; one of the two programs is loaded.
 */
SEC("?tp_btf/mm_filemap_add_to_page_cache")
int TIMED_PROG(iostrata_fs_fill, struct folio *folio)
{
	return page_filled(HOP(folio)->mapping->host, folio->index, bytes_of(folio));
}

/* Until 5.15, with a page. */
SEC("?tp_btf/mm_filemap_add_to_page_cache")
int TIMED_PROG(iostrata_fs_fill_page, struct page___before_folio *page)
{
	return page_filled(HOP(page)->mapping->host, page->index, PAGE_BYTES);
}

/* writeback_dirty_folio: a folio becomes dirty. Aggregated by process, file and access. */
SEC("?tp_btf/writeback_dirty_folio")
int TIMED_PROG(iostrata_fs_dirty, struct folio *folio, struct address_space *mapping)
{
	return page_turned_dirty(mapping, folio->index, bytes_of(folio));
}

/* Until 5.15: writeback_dirty_page. */
SEC("?tp_btf/writeback_dirty_page")
int TIMED_PROG(iostrata_fs_dirty_page, struct page___before_folio *page, struct address_space *mapping)
{
	return page_turned_dirty(mapping, page->index, PAGE_BYTES);
}

static __always_inline void begin_fs_call(__u8 op, __u64 bytes)
{
	struct fs_call_key key = { .tid = bpf_get_current_pid_tgid(), .op = op };
	struct fs_call call = { .start_ns = bpf_ktime_get_ns(), .bytes = bytes };

	/* If this fails, the operation is recorded without a duration. */
	bpf_map_update_elem(&fs_calls, &key, &call, BPF_ANY);
}

static __always_inline struct fs_call end_fs_call(__u8 op)
{
	struct fs_call_key key = { .tid = bpf_get_current_pid_tgid(), .op = op };
	struct fs_call none = {}, *call = bpf_map_lookup_elem(&fs_calls, &key);

	if (!call)
		return none;
	none = *call;
	bpf_map_delete_elem(&fs_calls, &key);
	return none;
}

static __always_inline int inode_done(struct inode *inode, __u8 op, __u64 start_ns, __u64 bytes)
{
	struct fs_event event = { .offset_bytes = MISSING, .blocks = MISSING, .bytes = bytes };

	if (is_recorder() || !inode || !fill_inode(&event, inode) || !inode_wanted(inode))
		return 0;
	name_fs(&event, HOP(inode)->i_sb);
	meet_inode(inode, start_ns);
	emit_fs_event(&event, op, start_ns, bpf_ktime_get_ns());
	return 0;
}

/* writeback_single_inode_start: writeback of an inode begins. */
SEC("?tp_btf/writeback_single_inode_start")
int TIMED_PROG(iostrata_fs_writeback_start, struct inode *inode, struct writeback_control *control, unsigned long pages)
{
	begin_fs_call(OP_WRITEBACK, 0);
	return 0;
}

/*
 * writeback_single_inode: writeback of an inode ends. Emits its record. `pages`: pages to write; `control` has the
 * number that is left.
 */
SEC("?tp_btf/writeback_single_inode")
int TIMED_PROG(iostrata_fs_writeback, struct inode *inode, struct writeback_control *control, unsigned long pages)
{
	struct fs_call call = end_fs_call(OP_WRITEBACK);

	return inode_done(inode, OP_WRITEBACK, call.start_ns, (pages - control->nr_to_write) * PAGE_BYTES);
}

/* ext4_sync_file_enter: fsync of an ext4 file begins. */
SEC("?tp_btf/ext4_sync_file_enter")
int TIMED_PROG(iostrata_ext4_sync_file_enter, struct file *file, int datasync)
{
	begin_fs_call(OP_SYNC_FILE, 0);
	return 0;
}

/* ext4_sync_file_exit: fsync of an ext4 file ends. Emits its record. */
SEC("?tp_btf/ext4_sync_file_exit")
int TIMED_PROG(iostrata_ext4_sync_file_exit, struct inode *inode, int ret)
{
	return inode_done(inode, OP_SYNC_FILE, end_fs_call(OP_SYNC_FILE).start_ns, 0);
}

/*
 * xfs_file_fsync, btrfs_sync_file: fsync of a file begins. Emits its record, without a duration. Neither XFS nor btrfs
 * reports its end. For the verifier, arguments of a module's tracepoint may be NULL.
 */
SEC("?tp_btf/xfs_file_fsync")
int TIMED_PROG(iostrata_xfs_file_fsync, struct xfs_inode *inode)
{
	return inode ? inode_done(&inode->i_vnode, OP_SYNC_FILE, 0, 0) : 0;
}

SEC("?tp_btf/btrfs_sync_file")
int TIMED_PROG(iostrata_btrfs_sync_file, struct file *file, int datasync)
{
	return file ? inode_done(HOP(file)->f_inode, OP_SYNC_FILE, 0, 0) : 0;
}

static __always_inline int super_synced(struct super_block *super)
{
	struct fs_event event = { .offset_bytes = MISSING, .blocks = MISSING, .ino = MISSING, .dev = super->s_dev };

	if (is_recorder() || !device_wanted(event.dev) || !owner_wanted())
		return 0;
	name_fs(&event, super);
	emit_fs_event(&event, OP_SYNC_FS, 0, bpf_ktime_get_ns());
	return 0;
}

/* ext4_sync_fs, btrfs_sync_fs: sync of a whole file system. Emits its record, without a duration. */
SEC("?tp_btf/ext4_sync_fs")
int TIMED_PROG(iostrata_ext4_sync_fs, struct super_block *super, int wait)
{
	return super ? super_synced(super) : 0;
}

SEC("?tp_btf/btrfs_sync_fs")
int TIMED_PROG(iostrata_btrfs_sync_fs, struct btrfs_fs_info *info, int wait)
{
	return info ? super_synced(info->sb) : 0;
}

/* jbd2_start_commit: a journal commit begins. */
SEC("?tp_btf/jbd2_start_commit")
int TIMED_PROG(iostrata_jbd2_start_commit, struct journal_s *journal, struct transaction_s *transaction)
{
	if (journal)
		begin_fs_call(OP_COMMIT, journal->j_blocksize);
	return 0;
}

/* jbd2_run_stats: a journal commit ends. Emits its record. In the same thread, when the transaction is on its device. */
SEC("?tp_btf/jbd2_run_stats")
int TIMED_PROG(iostrata_jbd2_run_stats, __u32 dev, __u32 transaction, struct transaction_run_stats_s *stats)
{
	struct fs_event event = { .offset_bytes = MISSING, .ino = MISSING, .dev = dev };
	struct fs_call call = end_fs_call(OP_COMMIT);

	/* A transaction belongs to all processes that changed something, so no owner filter excludes it. */
	if (!stats || !device_wanted(dev) || !unowned_wanted(dev))
		return 0;
	event.blocks = stats->rs_blocks_logged;
	event.bytes = event.blocks * call.bytes;
	emit_fs_event(&event, OP_COMMIT, call.start_ns, bpf_ktime_get_ns());
	return 0;
}

#endif
