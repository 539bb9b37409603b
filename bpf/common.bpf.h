/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every probe group uses: configuration, rings, books. */
#ifndef IOSTRATA_COMMON_H
#define IOSTRATA_COMMON_H

const volatile struct config config = {};

/* The key of a map that has one entry, for programs that have no room for it on the stack. */
const volatile __u32 only_entry = 0;

/* Since 6.2: gives a pointer that was read somewhere its type, and so plain loads. */
extern void *bpf_rdonly_cast(const void *object, __u32 btf_id) __ksym __weak;

/*
 * A pointer that a program was given, or the current task, to load another pointer through. For each such load from a pointer that it
 * trusts, the verifier (since 6.3) looks through the names of all types of the kernel, several times; three quarters of the time that
 * it took to load the programs went there. Of one that was cast it trusts nothing, and looks nothing up.
 */
#define HOP(pointer)                                                                                                   \
	(bpf_ksym_exists(bpf_rdonly_cast) ?                                                                            \
		 (typeof(pointer))bpf_rdonly_cast(pointer, bpf_core_type_id_kernel(typeof(*(pointer)))) :              \
		 (pointer))

/*
 * One ring per shard, and another one for what comes seldom; user space creates the rings, so that their number and size follow the
 * machine.
 */
struct ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
};
enum { MAX_SHARDS = 64 };
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2 * MAX_SHARDS);
	__type(key, __u32);
	__array(values, struct ring);
} rings SEC(".maps");

/*
 * Since when rows are made of what ends, and calls that begin are followed; 0: not yet, or no more. The same for all layers, and what is
 * under way at the end stays in its table, to be counted. User space sets it between two readings of the kernel's counters. All programs are
 * attached by then and detached after, one by one, which takes far too long.
 */
__u64 opened_ns = 0;

static __always_inline bool makes_rows(void)
{
	return opened_ns;
}

/* Key: event class. Per CPU, because two programs of one class may run at once. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CLASS_COUNT);
	__type(key, __u32);
	__type(value, struct account);
} accounts SEC(".maps");

/*
 * A pointer as a number to compare and to hash: its distance from an object of ours. The verifier lets nobody calculate
 * with a pointer that it knows the type of, but it takes the difference of two for a plain number.
 */
static __always_inline __u64 number_of(const void *pointer)
{
	const volatile void *base = &config;
	__u64 number = (__u64)pointer;

	asm volatile("%0 -= %1" : "+r"(number) : "r"(base));
	return number;
}

/* The address itself, to compare with one that was never more than a number. Dearer than number_of(). */
static __always_inline __u64 address_of(const void *pointer)
{
	__u64 address = 0;

	bpf_probe_read_kernel(&address, sizeof(address), &pointer);
	return address;
}

/* number_of() an address that is a number already; `known` is any pointer that has a type. */
static __always_inline __u64 number_of_address(__u64 address, const void *known)
{
	return address - address_of(known) + number_of(known);
}

/* Fibonacci hashing: the upper bits of the product depend on every bit of the number. `buckets`: a power of two. */
static __always_inline __u32 hash_of(__u64 number, __u32 buckets)
{
	return number * 0x9e3779b97f4a7c15ULL >> 40 & (buckets - 1);
}

/* Tells whether something that two CPUs may have written at once is what one of them wrote. */
static __always_inline __u64 checksum(const __u64 *words, __u32 bytes)
{
	__u64 sum = 0;

	/* Each word turned by another amount, so that two exchanged ones do not go unnoticed. */
	for (__u32 i = 0; i < bytes / sizeof(__u64); i++)
		sum ^= words[i] << i | words[i] >> (63 - i) >> 1;
	return sum;
}

static __always_inline struct account *account_of(__u32 event_class)
{
	return bpf_map_lookup_elem(&accounts, &event_class);
}

/* What a call moves at most that asks for so much. MISSING: nobody knows for how much. */
static __always_inline __u64 at_most(__s64 requested_bytes)
{
	if (requested_bytes == MISSING || requested_bytes > MOST_BYTES)
		return MOST_BYTES;
	return requested_bytes > 0 ? requested_bytes : 0;
}

/* Which way an operation moves bytes, if it does. */
enum moves { MOVES_NOTHING, MOVES_IN, MOVES_OUT };

static __always_inline enum moves moves_of(__u8 op)
{
	switch (op) {
	case OP_READ: case OP_PREAD: case OP_READV: case OP_PREADV: case OP_PREADV2:
	case OP_SENDFILE_IN: case OP_COPY_FILE_RANGE_IN: case OP_SPLICE_IN: case OP_AIO_READ: case OP_URING_READ:
	case OP_URING_SPLICE_IN: case OP_FILL:
		return MOVES_IN;
	case OP_WRITE: case OP_PWRITE: case OP_WRITEV: case OP_PWRITEV: case OP_PWRITEV2:
	case OP_FLUSH: case OP_WRITE_ZEROES: case OP_ZONE_APPEND:
	case OP_SENDFILE_OUT: case OP_COPY_FILE_RANGE_OUT: case OP_SPLICE_OUT: case OP_AIO_WRITE: case OP_URING_WRITE:
	case OP_URING_SPLICE_OUT: case OP_DIRTY:
		return MOVES_OUT;
	}
	return MOVES_NOTHING;
}

/* Adds what a lost event can have carried. */
static __always_inline void count_lost_io(struct account *account, __u8 op, __s64 bytes)
{
	__u64 amount = bytes == MISSING ? MOST_BYTES : bytes > 0 ? bytes : 0;
	enum moves moves = moves_of(op);

	if (moves == MOVES_IN) {
		account->lost_read_ops++;
		account->lost_read_bytes += amount;
	} else if (moves == MOVES_OUT) {
		account->lost_write_ops++;
		account->lost_write_bytes += amount;
	}
}

static __always_inline void *ring_of_this_cpu(__u32 event_class)
{
	__u32 shard = bpf_get_smp_processor_id();

	/* Division only where there are more CPUs than shards. */
	if (shard >= config.ring_shards)
		shard = config.ring_shards ? shard % config.ring_shards : 0;
	if (config.often_classes >> event_class & 1)
		shard += config.ring_shards;
	return bpf_map_lookup_elem(&rings, &shard);
}

/* BPF_RINGBUF_HDR_SZ: in front of each record. */
enum { RECORD_HEADER_BYTES = 8 };

/* As reserve_event(), of a record that was counted as seen before. */
static __always_inline void *reserve_seen(void *ring, struct account *account, __u64 size, __u8 op, __s64 bytes)
{
	void *event = bpf_ringbuf_reserve(ring, size, 0);

	if (!event) {
		account->ring_full++;
		count_lost_io(account, op, bytes);
	}
	return event;
}

/*
 * Room for one record, counted as seen; NULL when there is none, counted as lost with at most `bytes` in it.
 * Every reserve_event() that gives a record is followed by submit_event().
 */
static __always_inline void *reserve_event(void *ring, __u32 event_class, __u64 size, __u8 op, __s64 bytes)
{
	struct account *account = account_of(event_class);

	if (!account || !ring)
		return 0;
	account->seen++;
	return reserve_seen(ring, account, size, op, bytes);
}

/*
 * Hands a record over. The consumer is woken by the one record in every `wake_bytes` of the ring that reaches over a
 * multiple of it, not once per event; what comes between it finds by its own poll.
 */
static __always_inline void submit_event(void *event, __u64 size)
{
	__u64 end = number_of(event) + size;
	bool wakes = (end & (config.wake_bytes - 1)) < size + RECORD_HEADER_BYTES;

	bpf_ringbuf_submit(event, wakes ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

static __always_inline void fill_head(struct event_head *head, __u16 event_class, __u8 op, __u8 fd_kind, __s64 start_ns)
{
	head->event_class = event_class;
	head->cpu = bpf_get_smp_processor_id();
	head->op = op;
	head->fd_kind = fd_kind;
	head->reserved = 0;
	head->start_ns = start_ns;
}

/*
 * Whom the current task works for: itself, or, if it is a worker of io_uring, the thread that the worker is of. A thread that polls
 * a ring for its process does not tell whose the ring is, so there it is the process's first thread.
 */
static __always_inline struct task_struct *client_of_current(void)
{
	struct task_struct *task = bpf_get_current_task_btf(), *client;
	struct io_worker *worker;

	if (!(task->flags & PF_IO_WORKER))
		return task;
	if (bpf_ksym_exists(bpf_rdonly_cast) && bpf_core_field_exists(struct io_worker, wq)) {
		worker = task->worker_private;
		client = worker ? BPF_CORE_READ(worker, wq, task) : 0;
		if (client) {
			client = bpf_rdonly_cast(client, bpf_core_type_id_kernel(struct task_struct));
			/* Of a ring that is polled the workers are the polling thread's. */
			return client->flags & PF_IO_WORKER ? client->group_leader : client;
		}
	}
	return HOP(task)->group_leader;
}

/* The current task. Never call this where the current task is whoever was interrupted. */
static __always_inline void identify_current(struct identity *who)
{
	__u64 ids;

	/* Since 5.11 the current task is to be had with its type: one call in place of three. */
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)) {
		struct task_struct *task = client_of_current();

		who->pid = task->tgid;
		who->tid = task->pid;
		who->cgroup_id = HOP(task)->cgroups->dfl_cgrp->kn->id;
		((__u64 *)who->comm)[0] = ((__u64 *)task->comm)[0];
		((__u64 *)who->comm)[1] = ((__u64 *)task->comm)[1];
		return;
	}
	ids = bpf_get_current_pid_tgid();
	who->pid = ids >> 32;
	who->tid = ids;
	who->cgroup_id = bpf_get_current_cgroup_id();
	bpf_get_current_comm(who->comm, sizeof(who->comm));
}

static __always_inline bool is_recorder(void)
{
	return (__u32)(bpf_get_current_pid_tgid() >> 32) == config.recorder_pid;
}

#endif
