/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VFS layer: reads, writes and syncs in the VFS, from all callers (system calls, the loop driver, nfsd, overlayfs).
 * fentry or kprobe on entry, fexit or kretprobe on return, depending on the kernel. All variants share the code below.
 */
#ifndef IOSTRATA_VFS_H
#define IOSTRATA_VFS_H

/*
 * One thread may be in two functions at once (overlayfs writes to the file below), and twice in one of them (it syncs
 * the file below), so both are in the key.
 */
struct vfs_key {
	__u32 tid;
	__u16 function;
	__u16 stacked;
};

/*
 * Key: thread, function and stacking; value: the operation in flight. Written on entry, deleted on return. Full: the
 * operation is counted as lost (`inflight_full`).
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, struct vfs_key);
	__type(value, struct file_op);
} vfs_ops SEC(".maps");

/* Probed functions. */
enum vfs_function { VFS_READ, VFS_WRITE, VFS_READV, VFS_WRITEV, VFS_ITER_READ, VFS_ITER_WRITE, VFS_FSYNC, VFS_FUNCTIONS };

/*
 * Ends an operation with a missed return: the thread has left this function, and the kernel did not report it. All
 * kretprobe instances of the function were in use (there are as many as CPUs, or ten; a thread that waits for a disk
 * uses one), or the program was skipped.
 */
static __always_inline void end_missed(struct vfs_key *key)
{
	struct file_op *missed = bpf_map_lookup_elem(&vfs_ops, key);
	struct account *account;

	if (!missed)
		return;
	account = lose_seen(missed, CLASS_VFS);
	if (account)
		account->missed_return++;
	bpf_map_delete_elem(&vfs_ops, key);
}

/* Before an operation on `file` begins: its return must not be matched with an earlier operation. */
static __always_inline void end_all_missed(struct vfs_key *key, struct file *file)
{
	end_missed(key);
	if (is_stacked(BPF_CORE_READ(file, f_inode, i_sb, s_magic))) {
		key->stacked = 1;
		end_missed(key);
		key->stacked = 0;
	}
}

static __always_inline void enter_vfs(enum vfs_function function, __u8 op_code, struct file *file, __s64 requested_bytes,
				       __s64 offset_bytes)
{
	struct file_op op = { .op = op_code, .offset_bytes = offset_bytes, .requested_bytes = requested_bytes };
	struct vfs_key key = { .function = function };
	bool sampled;
	long error;

	if (!makes_rows() || is_recorder() || !owner_wanted())
		return;
	key.tid = bpf_get_current_pid_tgid();
	sampled = samples_this_moment();
	if (config.misses_returns || !sampled)
		end_all_missed(&key, file);
	if (!sampled || !fill_wanted(&op, file, 0))
		return;
	key.stacked = op.stacked;
	if ((op.open_flags & O_APPEND) && op_code == OP_WRITE)
		op.offset_bytes = MISSING;
	tell_current(0);
	op.start_ns = bpf_ktime_get_ns();
	error = bpf_map_update_elem(&vfs_ops, &key, &op, BPF_NOEXIST);
	if (error == -EEXIST) {
		end_missed(&key);
		error = bpf_map_update_elem(&vfs_ops, &key, &op, BPF_ANY);
	}
	if (error)
		lose_file_op(&op, CLASS_VFS);
}

/* Timed here, because kprobes have no TIMED_PROG(). */
static __always_inline int vfs_entered(enum vfs_function function, __u8 op_code, struct file *file, __s64 requested_bytes,
				       __s64 offset_bytes)
{
	__u64 began_ns = run_begins();

	enter_vfs(function, op_code, file, requested_bytes, offset_bytes);
	run_ends(began_ns);
	return 0;
}

/* `file`: file of the function that returns; NULL if it is unknown. */
static __always_inline void leave_vfs(enum vfs_function function, struct file *file, __s64 ret)
{
	struct vfs_key key = { .tid = bpf_get_current_pid_tgid(), .function = function };

	if (!makes_rows())
		return;
	for (int stacked = 0; stacked < 2; stacked++) {
		struct file_op *op;

		key.stacked = stacked;
		op = bpf_map_lookup_elem(&vfs_ops, &key);
		if (!op || (file && op->file_address != (__u64)file))
			continue;
		emit_file_event(op, CLASS_VFS, ret);
		bpf_map_delete_elem(&vfs_ops, &key);
		break;
	}
}

static __always_inline int vfs_returned(enum vfs_function function, struct file *file, __s64 ret)
{
	__u64 began_ns = run_begins();

	leave_vfs(function, file, ret);
	run_ends(began_ns);
	return 0;
}

static __always_inline __s64 position(__s64 *at)
{
	__s64 offset_bytes = MISSING;

	if (at)
		bpf_probe_read_kernel(&offset_bytes, sizeof(offset_bytes), at);
	return offset_bytes;
}

/* Returns the count of the iterator; its offset in the struct varies, and CO-RE finds it. */
static __always_inline __s64 iter_bytes(struct iov_iter *iter)
{
	return BPF_CORE_READ(iter, count);
}

/*
 * Programs of each function: entry by fentry and by kprobe, return by fexit and by kretprobe. Entry begins an
 * operation; return emits its record. The return needs only its value. fexit needs the number of arguments before the
 * return value to find it, so they are written out.
 */
#define VFS_FUNCTION(name, id, op_code, args, requested, offset)                                                       \
	SEC("?fentry/" #name)                                                                                          \
	int BPF_PROG(iostrata_##name, UNPACK args)                                                                     \
	{                                                                                                              \
		return vfs_entered(id, op_code, file, requested, offset);                                              \
	}                                                                                                              \
	SEC("?fexit/" #name)                                                                                           \
	int BPF_PROG(iostrata_##name##_ret, UNPACK args, long ret)                                                     \
	{                                                                                                              \
		return vfs_returned(id, file, ret);                                                                    \
	}                                                                                                              \
	SEC("?kprobe/" #name)                                                                                          \
	int BPF_KPROBE(iostrata_##name##_kp, UNPACK args)                                                              \
	{                                                                                                              \
		return vfs_entered(id, op_code, file, requested, offset);                                              \
	}                                                                                                              \
	SEC("?kretprobe/" #name)                                                                                       \
	int BPF_KRETPROBE(iostrata_##name##_krp, long ret)                                                             \
	{                                                                                                              \
		return vfs_returned(id, 0, ret);                                                                       \
	}
#define UNPACK(...) __VA_ARGS__

VFS_FUNCTION(vfs_read, VFS_READ, OP_READ, (struct file * file, char *buffer, unsigned long count, __s64 *at), count, position(at))
VFS_FUNCTION(vfs_write, VFS_WRITE, OP_WRITE, (struct file * file, char *buffer, unsigned long count, __s64 *at), count, position(at))
VFS_FUNCTION(vfs_readv, VFS_READV, OP_READ, (struct file * file, struct iovec *vector, unsigned long count, __s64 *at, int flags), vector_bytes(vector, count), position(at))
VFS_FUNCTION(vfs_writev, VFS_WRITEV, OP_WRITE, (struct file * file, struct iovec *vector, unsigned long count, __s64 *at, int flags), vector_bytes(vector, count), position(at))
VFS_FUNCTION(vfs_iter_read, VFS_ITER_READ, OP_READ, (struct file * file, struct iov_iter *iter, __s64 *at, int flags), iter_bytes(iter), position(at))
VFS_FUNCTION(vfs_iter_write, VFS_ITER_WRITE, OP_WRITE, (struct file * file, struct iov_iter *iter, __s64 *at, int flags), iter_bytes(iter), position(at))
VFS_FUNCTION(vfs_fsync_range, VFS_FSYNC, OP_FSYNC, (struct file * file, __s64 start, __s64 end, int datasync), MISSING, start)

/* Ends all operations of a thread that no longer exists. */
static __always_inline int leave_all_vfs(__u32 tid)
{
	struct vfs_key key = { .tid = tid };

	if (!makes_rows())
		return 0;
	for (int way = 0; way < VFS_FUNCTIONS * 2; way++) {
		key.function = way / 2;
		key.stacked = way % 2;
		end_missed(&key);
	}
	return 0;
}

/* sched_process_exit: the thread ends. */
SEC("?tp_btf/sched_process_exit")
int TIMED_PROG(iostrata_vfs_exit, struct task_struct *task)
{
	return leave_all_vfs(task->pid);
}

/* sched_process_exec: like iostrata_exec_calls. */
SEC("?tp_btf/sched_process_exec")
int TIMED_PROG(iostrata_vfs_exec, struct task_struct *task, int old_pid)
{
	return old_pid == task->pid ? 0 : leave_all_vfs(old_pid);
}

#endif
