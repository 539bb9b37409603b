/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Definitions for all groups of programs: configuration, rings, event accounting. */
#ifndef IOSTRATA_COMMON_H
#define IOSTRATA_COMMON_H

#include "core/number.bpf.h"
#include "core/task.bpf.h"
#include "core/typed.bpf.h"

const volatile struct config config = {};

/* Key of a map with one entry, for programs without stack space for it. */
const volatile __u32 only_entry = 0;

/*
 * Key: shard, plus `ring_shards` for frequent event classes; value: ring buffer. A shard has a ring for rare event
 * classes and another one for frequent ones. Written by user space, which creates the rings, so that their number and
 * size follow the machine. Ring full: the record is counted as lost (`ring_full`).
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
 * Start of the recording window: events that end are recorded, and calls that begin are tracked; 0: not yet, or no
 * longer. The same for all layers. Operations in flight at the end stay in their tables and are counted from there.
 * User space sets it between two readings of the kernel's device counters. All programs are attached by then and
 * detached after, one by one, which takes far too long to delimit the window.
 */
__u64 opened_ns = 0;

static __always_inline bool makes_rows(void)
{
	return opened_ns;
}

/* Key: event class; value: event accounting. Per CPU, because two programs of one class may run at once. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CLASS_COUNT);
	__type(key, __u32);
	__type(value, struct account);
} accounts SEC(".maps");

/* Returns a number for a pointer, to compare and to hash. */
static __always_inline __u64 number_of(const void *pointer)
{
	return distance_of(pointer, &config);
}

/* Returns number_of() for an address that is already a scalar; `known` is any typed pointer. */
static __always_inline __u64 number_of_address(__u64 address, const void *known)
{
	return address - address_of(known) + number_of(known);
}

static __always_inline struct account *account_of(__u32 event_class)
{
	return bpf_map_lookup_elem(&accounts, &event_class);
}

/* Returns the upper bound of the bytes that a call with this request size moves. MISSING: the request size is unknown. */
static __always_inline __u64 at_most(__s64 requested_bytes)
{
	if (requested_bytes == MISSING || requested_bytes > MOST_BYTES)
		return MOST_BYTES;
	return requested_bytes > 0 ? requested_bytes : 0;
}

/* Direction of an operation's data. */
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

/* Adds the I/O of an event; an upper bound where its bytes are missing. */
static __always_inline void add_io(struct io_amounts *sum, __u8 op, __s64 bytes)
{
	__u64 amount = bytes == MISSING ? MOST_BYTES : bytes > 0 ? bytes : 0;
	enum moves moves = moves_of(op);

	if (moves == MOVES_IN) {
		sum->read_ops++;
		sum->read_bytes += amount;
	} else if (moves == MOVES_OUT) {
		sum->write_ops++;
		sum->write_bytes += amount;
	}
}

static __always_inline void *ring_of_this_cpu(__u32 event_class)
{
	__u32 shard = bpf_get_smp_processor_id();

	/* Divides only if there are more CPUs than shards. */
	if (shard >= config.ring_shards)
		shard = config.ring_shards ? shard % config.ring_shards : 0;
	if (config.often_classes >> event_class & 1)
		shard += config.ring_shards;
	return bpf_map_lookup_elem(&rings, &shard);
}

/* BPF_RINGBUF_HDR_SZ: size of the header before each record. */
enum { RECORD_HEADER_BYTES = 8 };

/* Like reserve_event(), for a record that was already counted as seen. */
static __always_inline void *reserve_seen(void *ring, struct account *account, __u64 size, __u8 op, __s64 bytes)
{
	void *event = bpf_ringbuf_reserve(ring, size, 0);

	if (!event) {
		account->ring_full++;
		add_io(&account->lost_io, op, bytes);
	}
	return event;
}

/*
 * Reserves space for one record and counts the record as seen. NULL if there is no space: the record is counted as lost
 * with at most `bytes` of data. Every record that reserve_event() returns is passed to submit_event().
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
 * Submits a record. The record that crosses a multiple of `wake_bytes` wakes the consumer: one wakeup per `wake_bytes`
 * of the ring, not one per event. The consumer finds the records in between by polling.
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

/* Identifies the current task. Must not be called where the current task is one that was interrupted. */
static __always_inline void identify_current(struct identity *who)
{
	__u64 ids;

	/* Since 5.11 the current task is available as a typed pointer: one call instead of three. */
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
