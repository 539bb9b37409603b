/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The application layer, where calls do not wait: Linux aio and io_uring, from submission to completion. Who asked is known
 * at submission only.
 */
#ifndef IOSTRATA_ASYNC_H
#define IOSTRATA_ASYNC_H

enum { ASYNC_BUCKETS = 16384, ASYNC_WAYS = 2 };

struct async_op {
	struct file_op op;
	struct identity who;
};

struct async_slot {
	/* Address of the iocb in its process, or of io_uring's request in the kernel; 0: free. */
	__u64 key;
	__u64 check;
	struct async_op async;
	__u64 reserved;
};

struct async_bucket {
	struct async_slot way[ASYNC_WAYS];
};

/*
 * Key: a hash of the operation's address. An array, because hash tables cost more than all the rest. An operation that
 * another one takes the slot from, for want of room or because its program never asks what became of it, has no row; what
 * is begun and what is ended are counted, so that this shows. Two CPUs may write one slot at once; `check` tells when they did.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ASYNC_BUCKETS);
	__type(key, __u32);
	__type(value, struct async_bucket);
} under_way SEC(".maps");

static __always_inline struct async_bucket *async_bucket_of(__u64 key)
{
	__u32 hash = hash_of(key, ASYNC_BUCKETS);

	return bpf_map_lookup_elem(&under_way, &hash);
}

static __always_inline bool is_slot_of(struct async_slot *slot, __u64 key, __u32 pid)
{
	return slot->key == key && (!pid || slot->async.who.pid == pid);
}

/* `pid`: whose address it is, 0 for one in the kernel. */
static __always_inline struct async_slot *find_async(__u64 key, __u32 pid)
{
	struct async_bucket *bucket = async_bucket_of(key);
	struct async_slot *slot;

	if (!bucket)
		return 0;
	slot = &bucket->way[0];
	if (!is_slot_of(slot, key, pid))
		slot = &bucket->way[1];
	if (!is_slot_of(slot, key, pid))
		return 0;
	return slot->check == checksum((__u64 *)&slot->async, sizeof(slot->async)) ? slot : 0;
}

/*
 * The current task, which is told, begins `async`, of which the rest is filled: takes a free slot, or the one that has waited
 * longest.
 */
static __always_inline void begin_async(__u64 key, struct async_op *async)
{
	struct account *account = account_of(CLASS_SYSCALL);
	struct async_bucket *bucket = async_bucket_of(key);
	struct async_slot *slot;

	identify_current(&async->who);
	if (!bucket || !account)
		return;
	slot = &bucket->way[0];
	if (slot->key && (!bucket->way[1].key || bucket->way[1].async.op.start_ns < slot->async.op.start_ns))
		slot = &bucket->way[1];
	slot->key = key;
	slot->async = *async;
	slot->check = checksum((__u64 *)async, sizeof(*async));
	account->async_begun++;
}

static __always_inline void end_async(struct async_slot *slot)
{
	struct account *account = account_of(CLASS_SYSCALL);

	slot->key = 0;
	if (account)
		account->async_ended++;
}

/* It is not recorded: what an earlier one at its address left behind is not its own. */
static __always_inline void forget_async(__u64 key, __u32 pid)
{
	struct async_slot *slot = find_async(key, pid);

	if (slot)
		slot->key = 0;
}

/*
 * Linux aio. Nothing tells when an operation completes, so it ends when the program learns of it from io_getevents(). An
 * io_event in user space names the iocb that it is of.
 */

/* uapi/linux/aio_abi.h */
struct iocb {
	__u64 data;
	__u32 key;
	__u32 rw_flags;
	__u16 opcode;
	__s16 priority;
	__u32 fd;
	__u64 buffer;
	__u64 bytes;
	__s64 offset;
};
struct io_event {
	__u64 data;
	__u64 iocb;
	__s64 res;
	__s64 res2;
};
enum { IOCB_PREAD = 0, IOCB_PWRITE = 1, IOCB_FSYNC = 2, IOCB_FDSYNC = 3, IOCB_PREADV = 7, IOCB_PWRITEV = 8 };

/* More in one call are lost, and counted. */
enum { MAX_IOCBS = 1024 };

static __always_inline __u8 op_of_iocb(__u16 opcode)
{
	switch (opcode) {
	case IOCB_PREAD: case IOCB_PREADV:
		return OP_AIO_READ;
	case IOCB_PWRITE: case IOCB_PWRITEV:
		return OP_AIO_WRITE;
	case IOCB_FSYNC: case IOCB_FDSYNC:
		return OP_AIO_FSYNC;
	}
	return OP_NONE;
}

/* What became of an iocb, if not the address of its file, which is to be named. */
enum { IOCB_UNWANTED, IOCB_BEGUN };

/*
 * Functions with linkage, here and below: the verifier goes through them once, however often a loop calls them.
 * `address`: of an iocb in user space. `at_ns`: when it was submitted. What it leaves to its caller, old kernels have not the
 * stack for.
 */
__noinline __u64 begin_iocb(__u64 address, __u64 at_ns)
{
	struct async_op async = { .op = { .start_ns = at_ns, .offset_bytes = MISSING, .requested_bytes = MISSING } };
	struct file_op *op = &async.op;
	enum interest interest;
	struct iocb iocb;

	if (bpf_probe_read_user(&iocb, sizeof(iocb), (void *)address))
		return IOCB_UNWANTED;
	op->op = op_of_iocb(iocb.opcode);
	if (op->op == OP_NONE)
		return IOCB_UNWANTED;
	interest = look_into(op, file_of_fd(iocb.fd));
	if (interest == UNWANTED)
		return IOCB_UNWANTED;
	if (op->op != OP_AIO_FSYNC) {
		op->offset_bytes = iocb.offset;
		op->requested_bytes = iocb.bytes;
		if (iocb.opcode == IOCB_PREADV || iocb.opcode == IOCB_PWRITEV)
			op->requested_bytes = vector_bytes((struct iovec *)iocb.buffer, iocb.bytes);
	}
	begin_async(address, &async);
	return interest == UNMET ? (__u64)op->file : IOCB_BEGUN;
}

__noinline int forget_iocb(__u64 address)
{
	forget_async(address, bpf_get_current_pid_tgid() >> 32);
	return 0;
}

/* The kernel did not take it. */
__noinline int cancel_iocb(__u64 address)
{
	struct async_slot *slot = find_async(address, bpf_get_current_pid_tgid() >> 32);

	if (slot)
		end_async(slot);
	return 0;
}

__noinline int end_iocb(__u64 address)
{
	struct async_slot *slot;
	struct io_event event;

	if (bpf_probe_read_user(&event, sizeof(event), (void *)address))
		return 0;
	slot = find_async(event.iocb, bpf_get_current_pid_tgid() >> 32);
	if (!slot)
		return 0;
	emit_file_event_of(&slot->async.op, &slot->async.who, CLASS_SYSCALL, event.res);
	end_async(slot);
	return 0;
}

static __always_inline void aio_left_out(__u64 count, __u64 pointers)
{
	__u64 iocb;

	for (__u32 i = 0; i < MAX_IOCBS; i++) {
		if (i >= count)
			break;
		if (!bpf_probe_read_user(&iocb, sizeof(iocb), (void *)(pointers + i * sizeof(iocb))))
			forget_iocb(iocb);
	}
}

static __always_inline void aio_submitted(__u64 count, __u64 pointers)
{
	__u64 at_ns = bpf_ktime_get_ns(), iocb, begun, any = IOCB_UNWANTED;
	struct account *account;

	for (__u32 i = 0; i < MAX_IOCBS; i++) {
		if (i >= count)
			break;
		if (bpf_probe_read_user(&iocb, sizeof(iocb), (void *)(pointers + i * sizeof(iocb))))
			continue;
		begun = begin_iocb(iocb, at_ns);
		any |= begun;
		if (begun > IOCB_BEGUN)
			name_met(begun, 0, 0, at_ns);
	}
	if (any)
		tell_current(at_ns);
	account = account_of(CLASS_SYSCALL);
	if (account && count > MAX_IOCBS) {
		account->seen += count - MAX_IOCBS;
		account->inflight_full += count - MAX_IOCBS;
	}
}

static __always_inline bool is_aio(unsigned long number)
{
	return number == NR_IO_SUBMIT || number == NR_IO_GETEVENTS || number == NR_IO_PGETEVENTS;
}

/* `ret`: how many were taken, or how many events are told. */
static __always_inline void aio_returned(unsigned long number, struct pt_regs *regs, long ret)
{
	__u64 begin = ret > 0 ? ret : 0, pointers = regs->dx, events = regs->r10, count = regs->si, iocb;

	if (number == NR_IO_SUBMIT) {
		for (__u32 i = 0; i < MAX_IOCBS; i++) {
			if (begin + i >= count)
				return;
			if (!bpf_probe_read_user(&iocb, sizeof(iocb), (void *)(pointers + (begin + i) * sizeof(iocb))))
				cancel_iocb(iocb);
		}
		return;
	}
	for (__u32 i = 0; i < MAX_IOCBS; i++) {
		if (i >= begin)
			return;
		end_iocb(events + i * sizeof(struct io_event));
	}
}

/* uapi/linux/io_uring.h */
enum {
	IORING_OP_READV = 1,
	IORING_OP_WRITEV = 2,
	IORING_OP_FSYNC = 3,
	IORING_OP_READ_FIXED = 4,
	IORING_OP_WRITE_FIXED = 5,
	IORING_OP_SYNC_FILE_RANGE = 8,
	IORING_OP_FALLOCATE = 17,
	IORING_OP_READ = 22,
	IORING_OP_WRITE = 23,
};

static __always_inline __u8 op_of_uring(__u8 opcode)
{
	switch (opcode) {
	case IORING_OP_READ: case IORING_OP_READV: case IORING_OP_READ_FIXED:
		return OP_URING_READ;
	case IORING_OP_WRITE: case IORING_OP_WRITEV: case IORING_OP_WRITE_FIXED:
		return OP_URING_WRITE;
	case IORING_OP_FSYNC:
		return OP_URING_FSYNC;
	case IORING_OP_SYNC_FILE_RANGE:
		return OP_URING_SYNC_FILE_RANGE;
	case IORING_OP_FALLOCATE:
		return OP_URING_FALLOCATE;
	}
	return OP_NONE;
}

/* In the context of the submitter, or of the thread that polls for it, which is one of its own. */
static __always_inline int uring_submitted(struct io_kiocb *req)
{
	struct async_op async = { .op = { .offset_bytes = MISSING, .requested_bytes = MISSING } };
	struct io_rw *rw = (struct io_rw *)req;
	struct file_op *op = &async.op;
	__u8 opcode = req->opcode;

	op->op = op_of_uring(opcode);
	if (op->op == OP_NONE || is_recorder() || !owner_wanted())
		return 0;
	if (!samples_this_moment()) {
		forget_async(address_of(req), 0);
		return 0;
	}
	if (op->op == OP_URING_READ || op->op == OP_URING_WRITE) {
		op->requested_bytes = BPF_CORE_READ(rw, len);
		if (opcode == IORING_OP_READV || opcode == IORING_OP_WRITEV)
			op->requested_bytes = vector_bytes((struct iovec *)BPF_CORE_READ(rw, addr), op->requested_bytes);
		op->offset_bytes = BPF_CORE_READ(rw, kiocb.ki_pos);
		/* -1: the file's position. */
		if (op->offset_bytes == -1)
			op->offset_bytes = MISSING;
	}
	tell_current(0);
	op->start_ns = bpf_ktime_get_ns();
	begin_async(address_of(req), &async);
	return 0;
}

/* Which file it was is certain only now: it may have been looked up after the submission. */
static __always_inline int uring_completed(__u64 req, __s32 res)
{
	struct async_slot *slot = find_async(req, 0);
	struct file_op op;

	if (!slot)
		return 0;
	op = slot->async.op;
	if (fill_wanted(&op, BPF_CORE_READ((struct io_kiocb *)req, file), slot->async.who.pid))
		emit_file_event_of(&op, &slot->async.who, CLASS_SYSCALL, res);
	end_async(slot);
	return 0;
}

SEC("?tp_btf/io_uring_submit_req")
int TIMED_PROG(iostrata_io_uring_submit_req, struct io_kiocb *req)
{
	return uring_submitted(req);
}

/* Until 6.4. */
SEC("?tp_btf/io_uring_submit_sqe")
int TIMED_PROG(iostrata_io_uring_submit_sqe, struct io_kiocb *req)
{
	return uring_submitted(req);
}

SEC("?tp_btf/io_uring_complete")
int TIMED_PROG(iostrata_io_uring_complete, void *ring, void *req, struct io_uring_cqe *cqe)
{
	return uring_completed((__u64)req, BPF_CORE_READ(cqe, res));
}

/* Where the tracepoint has the completion's members one by one. */
SEC("?tp_btf/io_uring_complete")
int TIMED_PROG(iostrata_io_uring_complete_apart, void *ring, void *req, __u64 user_data, int res)
{
	return uring_completed((__u64)req, res);
}

#endif
