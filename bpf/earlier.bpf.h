/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls and operations that began before rows were made. They have no row, but what they ask for may reach a device while it is recorded:
 * so what they moved by their end, or may yet move where they do not end in time, is counted.
 */
#ifndef IOSTRATA_EARLIER_H
#define IOSTRATA_EARLIER_H

/* As many threads as Linux has ids for (PID_MAX_LIMIT in include/linux/threads.h), by so many in an entry. */
enum { MOST_THREADS = 4 << 20, THREADS_AN_ENTRY = 64 };

/*
 * Key: thread id by THREADS_AN_ENTRY; value: which of these began a call since rows are made and are not in `calls`. The end of a call of
 * any other thread that is not in `calls` is that of one that began before.
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

/* A thread is in a call that is not in `calls` and is nothing to look for any more. */
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

/* One file that an earlier call was on. */
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
 * The same by descriptor. What moved nothing, and what the filters leave out, is not counted. A function with linkage: the verifier goes
 * through it once.
 */
__noinline int count_earlier(__u32 op_code, __u32 fd, __s64 bytes)
{
	if (bytes > 0 && moves_of(op_code) != MOVES_NOTHING)
		count_earlier_on(op_code, file_of_fd(fd), bytes);
	return 0;
}

/* Whether the end of something that nothing is known of is that of an operation that the filters let through. */
static __always_inline bool may_be_earlier(void)
{
	return !is_recorder() && owner_wanted();
}

#endif
