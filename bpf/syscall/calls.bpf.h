/* SPDX-License-Identifier: GPL-2.0-or-later */
/* System calls in flight, by thread. Other groups find the call of a thread with call_in_flight() and target_in_flight(). */
#ifndef IOSTRATA_CALLS_H
#define IOSTRATA_CALLS_H

/*
 * Key: thread ID; value: its system call in flight; `op` is OP_NONE between two calls. The entry stays for the thread's
 * life, which saves an insertion and a deletion for each call. Written at sys_enter, deleted at the end of the thread.
 * Full: the call is counted as lost (`inflight_full`).
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, __u32);
	__type(value, struct file_op);
} calls SEC(".maps");

/*
 * Key: thread ID; value: the target file of a copying call that has its source file in `calls`. Written at sys_enter,
 * deleted at sys_exit. Full: the operation on the target file is counted as lost (`inflight_full`).
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__uint(map_flags, 1); /* BPF_F_NO_PREALLOC: few calls have two files */
	__type(key, __u32);
	__type(value, struct file_op);
} targets SEC(".maps");

/* Returns the call in flight of a thread. NULL: none, or the layer is not recorded; `op` may be OP_NONE. */
static __always_inline struct file_op *call_in_flight(__u32 tid)
{
	return bpf_map_lookup_elem(&calls, &tid);
}

/* Returns the operation on the target file of a copying call. NULL: none. */
static __always_inline struct file_op *target_in_flight(__u32 tid)
{
	return bpf_map_lookup_elem(&targets, &tid);
}

#endif
