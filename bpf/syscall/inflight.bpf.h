/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asynchronous operations, from submission to completion: tables of the operations in flight. Each operation that
 * begins ends in one of three ways, all of them counted: a row, a loss, or in flight at the stop.
 */
#ifndef IOSTRATA_INFLIGHT_H
#define IOSTRATA_INFLIGHT_H

/*
 * Key of an operation. io_uring: the address of its request in the kernel, which is unique while the request is in
 * flight. Linux aio: the address of its iocb, with the context and the address space (mm) of these addresses; a forked
 * process has the same addresses.
 */
struct async_key {
	__u64 address;
	__u64 context;
	__u64 memory;
};

struct async_op {
	struct file_op op;
	struct identity who;
};

struct async_way {
	/* The address is 0: free. */
	struct async_key key;
	__u64 check;
	struct async_op async;
};

enum { ASYNC_BUCKETS = 16384, ASYNC_WAYS = 2, CROWDED_ASYNC = 131072 };

struct async_bucket {
	struct async_way way[ASYNC_WAYS];
	/* Number of operations of this bucket that found no free way and are in `crowded_async`. */
	__u64 crowded;
	/* Padding to whole cache lines. */
	__u64 reserved;
};

/*
 * Key: a hash of the operation's key. An array, because hash tables cost more than all the rest. Two CPUs may write one
 * way at once. `check` detects that: then neither operation is found, and the sums of begun and ended operations show
 * that one is missing. Written at submission and completion. Bucket full: the operation is stored in `crowded_async`.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ASYNC_BUCKETS);
	__type(key, __u32);
	__type(value, struct async_bucket);
} under_way SEC(".maps");

/*
 * Key: the operation's key. Operations with a full bucket in `under_way`: a ring may have 32,768 in flight. Full: the
 * oldest operation of the bucket is lost.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CROWDED_ASYNC);
	__uint(map_flags, 1); /* BPF_F_NO_PREALLOC: most machines never have that many */
	__type(key, struct async_key);
	__type(value, struct async_op);
} crowded_async SEC(".maps");

/*
 * Key: 0. Scratch space for an operation that begins: it does not fit on the stack on older kernels. Programs at system
 * calls are not preempted.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct async_op);
} beginning SEC(".maps");

static __always_inline struct async_op *begun_async(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&beginning, &zero);
}

/* Operation in flight, and its location. */
struct async_found {
	struct async_bucket *bucket;
	/* NULL: the operation is unknown. */
	struct async_op *async;
	/* Way in the bucket, or ASYNC_WAYS: in `crowded_async`. */
	__u32 place;
};

static __always_inline struct async_bucket *async_bucket_of(struct async_key *key)
{
	__u32 hash = hash_of(key->address ^ key->context * 31 ^ key->memory * 17, ASYNC_BUCKETS);

	return bpf_map_lookup_elem(&under_way, &hash);
}

static __always_inline bool has_key(struct async_way *way, struct async_key *key)
{
	return way->key.address == key->address && way->key.context == key->context && way->key.memory == key->memory;
}

static __always_inline bool holds(struct async_way *way, struct async_key *key)
{
	return has_key(way, key) && way->check == checksum((__u64 *)&way->async, sizeof(way->async));
}

/* False: there is certainly no entry with this key. */
static __always_inline bool may_be_left(struct async_bucket *bucket, struct async_key *key)
{
	return bucket->crowded || bucket->way[0].key.address == key->address || bucket->way[1].key.address == key->address;
}

static __always_inline struct async_found find_async(struct async_key *key)
{
	struct async_found found = { .bucket = async_bucket_of(key) };

	if (!found.bucket)
		return found;
	if (holds(&found.bucket->way[0], key)) {
		found.async = &found.bucket->way[0].async;
	} else if (holds(&found.bucket->way[1], key)) {
		found.async = &found.bucket->way[1].async;
		found.place = 1;
	} else if (found.bucket->crowded) {
		found.async = bpf_map_lookup_elem(&crowded_async, key);
		found.place = ASYNC_WAYS;
	}
	return found;
}

/* Adds the upper bound of an operation's bytes to the sum of its direction. */
static __always_inline void add_carried(__u64 *read_bytes, __u64 *write_bytes, struct file_op *op)
{
	enum moves moves = moves_of(op->op);

	if (moves == MOVES_IN)
		*read_bytes += at_most(op->requested_bytes);
	else if (moves == MOVES_OUT)
		*write_bytes += at_most(op->requested_bytes);
}

static __always_inline void count_begun(struct file_op *op)
{
	struct account *account = account_of(CLASS_SYSCALL);

	if (!account)
		return;
	account->async_begun++;
	add_carried(&account->async_begun_read_bytes, &account->async_begun_write_bytes, op);
}

static __always_inline void count_ended(struct file_op *op)
{
	struct account *account = account_of(CLASS_SYSCALL);

	if (!account)
		return;
	account->async_ended++;
	add_carried(&account->async_ended_read_bytes, &account->async_ended_write_bytes, op);
}

/* Removes an operation that was found. The caller has emitted its row, or counted it as lost. */
static __always_inline void end_async(struct async_found *found, struct async_key *key)
{
	count_ended(&found->async->op);
	if (found->place == 0)
		found->bucket->way[0].key.address = 0;
	else if (found->place == 1)
		found->bucket->way[1].key.address = 0;
	else if (!bpf_map_delete_elem(&crowded_async, key))
		__sync_fetch_and_add(&found->bucket->crowded, -1);
}

/*
 * Counts an entry with this key as lost: the key is reused, so its operation has ended without an end event. Returns
 * whether there was one.
 */
static __always_inline bool lose_stale(struct async_key *key, __u32 unseen)
{
	struct async_found found = find_async(key);

	if (!found.async)
		return false;
	lose_unseen(&found.async->op, unseen);
	end_async(&found, key);
	return true;
}

static __always_inline void take_way(struct async_way *way, struct async_key *key, struct async_op *async)
{
	way->key = *key;
	way->async = *async;
	way->check = checksum((__u64 *)async, sizeof(*async));
}

/* Evicts the older operation of the bucket, which is lost, because no space is left anywhere. */
static __always_inline void evict_older(struct async_bucket *bucket, struct async_key *key, struct async_op *async)
{
	struct async_way *older = &bucket->way[0];

	if (bucket->way[1].async.op.start_ns < older->async.op.start_ns)
		older = &bucket->way[1];
	lose_file_op(&older->async.op, CLASS_SYSCALL);
	count_ended(&older->async.op);
	take_way(older, key, async);
}

/* Begins an operation with no entry in flight. The current task requests it. */
static __always_inline void begin_async_in(struct async_bucket *bucket, struct async_key *key, struct async_op *async)
{
	identify_current(&async->who);
	count_begun(&async->op);
	if (!bucket->way[0].key.address || has_key(&bucket->way[0], key)) {
		take_way(&bucket->way[0], key, async);
	} else if (!bucket->way[1].key.address || has_key(&bucket->way[1], key)) {
		take_way(&bucket->way[1], key, async);
	} else if (!bpf_map_update_elem(&crowded_async, key, async, BPF_ANY)) {
		__sync_fetch_and_add(&bucket->crowded, 1);
	} else {
		evict_older(bucket, key, async);
	}
}

static __always_inline void begin_async(struct async_key *key, struct async_op *async)
{
	struct async_bucket *bucket = async_bucket_of(key);

	if (bucket)
		begin_async_in(bucket, key, async);
}

#endif
