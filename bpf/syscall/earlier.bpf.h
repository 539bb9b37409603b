/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls and operations that began before the recording. They have no row, but their I/O may reach a device during the
 * recording. So the bytes that they moved by their end are counted, or an upper bound if they do not end in time.
 */
#ifndef IOSTRATA_EARLIER_H
#define IOSTRATA_EARLIER_H

/* Maximum number of thread IDs of Linux (PID_MAX_LIMIT in include/linux/threads.h), and thread IDs per entry. */
enum { MOST_THREADS = 4 << 20, THREADS_AN_ENTRY = 64 };

/*
 * Key: thread ID divided by THREADS_AN_ENTRY; value: the threads that began a call since the recording began and are
 * not in `calls`. The end of a call of any other thread that is not in `calls` is that of a call that began before.
 * Written by know_caller(). Never full: it has room for every thread ID.
 */
struct callers {
	__u8 is_known[THREADS_AN_ENTRY];
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MOST_THREADS / THREADS_AN_ENTRY);
	__type(key, __u32);
	__type(value, struct callers);
} callers SEC(".maps");

/* Marks a thread that is in a call that is not in `calls`, or that needs no further check. */
static __always_inline void know_caller(__u32 tid)
{
	__u32 entry = tid / THREADS_AN_ENTRY;
	struct callers *of = bpf_map_lookup_elem(&callers, &entry);

	if (of && !of->is_known[tid % THREADS_AN_ENTRY])
		of->is_known[tid % THREADS_AN_ENTRY] = 1;
}

static __always_inline bool is_known_caller(__u32 tid)
{
	__u32 entry = tid / THREADS_AN_ENTRY;
	struct callers *of = bpf_map_lookup_elem(&callers, &entry);

	return !of || of->is_known[tid % THREADS_AN_ENTRY];
}

/* Counts one file of an earlier call. */
static __always_inline void count_earlier_on(__u8 op_code, struct file *file, __s64 bytes)
{
	struct file_op op = { .op = op_code };
	struct account *account = account_of(CLASS_SYSCALL);

	if (!account || look_into(&op, file) == UNWANTED)
		return;
	account->earlier_calls++;
	if (moves_of(op_code) == MOVES_IN)
		account->earlier_read_bytes += bytes;
	else
		account->earlier_write_bytes += bytes;
}

/*
 * The same by descriptor. Calls that moved nothing, and calls that the filters exclude, are not counted. A global
 * function: the verifier checks it once.
 */
__noinline int count_earlier(__u32 op_code, __u32 fd, __s64 bytes)
{
	if (bytes > 0 && moves_of(op_code) != MOVES_NOTHING)
		count_earlier_on(op_code, file_of_fd(fd), bytes);
	return 0;
}

/* Returns whether the end of an unknown operation is that of an operation that the filters select. */
static __always_inline bool may_be_earlier(void)
{
	return !is_recorder() && owner_wanted();
}

#endif
