/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System call layer: Linux aio. No event reports the completion of an operation, so it ends when the program gets its
 * result from io_getevents(). An io_event in user space names its iocb.
 */
#ifndef IOSTRATA_AIO_H
#define IOSTRATA_AIO_H

/* uapi/linux/aio_abi.h, in the parts in which it is read: the whole does not fit on the stack on older kernels. */
struct iocb_call {
	__u32 rw_flags;
	__u16 opcode;
	__s16 priority;
	__u32 fd;
};
struct iocb_range {
	__u64 buffer;
	__u64 bytes;
	__s64 offset;
};
struct iocb {
	__u64 data;
	__u32 key;
	struct iocb_call call;
	struct iocb_range range;
};
struct io_event {
	__u64 data;
	__u64 iocb;
	__s64 res;
	__s64 res2;
};
enum { IOCB_PREAD = 0, IOCB_PWRITE = 1, IOCB_FSYNC = 2, IOCB_FDSYNC = 3, IOCB_PREADV = 7, IOCB_PWRITEV = 8 };

/*
 * fs/aio.c, struct aio_ring: start of a context's memory; its address is the context's ID. The kernel takes no more
 * than `nr` operations at once.
 */
struct aio_ring {
	__u32 id;
	__u32 nr;
	__u32 head;
	__u32 tail;
	__u32 magic;
};
enum { AIO_RING_MAGIC = 0xa10a10a1 };

/*
 * A call is processed in batches, so that the verifier need not follow each iteration. Operations beyond all batches
 * are lost, and counted.
 */
enum { IOCBS_A_STRETCH = 256, STRETCHES = 256 };

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

/*
 * Returns the address space (mm) of the current task as a number: no two processes that are alive have the same, unless
 * they share it.
 */
static __always_inline __u64 memory_of_current(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf))
		return number_of(HOP(bpf_get_current_task_btf())->mm);
	return (__u64)BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), mm);
}

static __always_inline struct async_key key_of_iocb(__u64 address, __u64 context)
{
	struct async_key key = { .address = address, .context = context, .memory = memory_of_current() };

	return key;
}

/*
 * Ends what is left of an earlier operation with an iocb that is submitted. Returns whether there was one. It is in
 * flight, or its end was read from the ring in memory: which of the two is unknown.
 */
__noinline __u64 forget_iocb(__u64 address, __u64 context)
{
	struct async_key key = key_of_iocb(address, context);

	return lose_stale(&key, UNSEEN_AIO_NOT_ASKED);
}

/* Result for an iocb, if not the address of its file, which needs a file record. */
enum { IOCB_UNWANTED, IOCB_BEGUN, IOCB_UNREADABLE, IOCB_MAY_BE_LEFT };

/* Presence of another operation with the same key. */
enum { AGAIN_NO, AGAIN_YES, AGAIN_UNKNOWN };

/*
 * Begins an operation. Global functions, here and below: the verifier checks them once, however often a loop calls
 * them. `address`: of an iocb in user space. `at_ns`: time of the submission. The caller does what does not fit on the
 * stack on older kernels, such as ending an earlier operation with the same key.
 */
__noinline __u64 begin_iocb(__u64 address, __u64 context, __u64 at_ns, __u64 again)
{
	struct async_key key = key_of_iocb(address, context);
	struct async_bucket *bucket = async_bucket_of(&key);
	struct async_op *async = begun_async();
	enum interest interest;
	struct file_op *op;
	struct iocb_call call;

	if (!async || !bucket)
		return IOCB_UNREADABLE;
	if (again == AGAIN_UNKNOWN && may_be_left(bucket, &key))
		return IOCB_MAY_BE_LEFT;
	op = &async->op;
	*op = no_call;
	op->start_ns = at_ns;
	op->again = again == AGAIN_YES;
	if (bpf_probe_read_user(&call, sizeof(call), (void *)address + offsetof(struct iocb, call)))
		return IOCB_UNREADABLE;
	op->op = op_of_iocb(call.opcode);
	if (op->op == OP_NONE)
		return IOCB_UNWANTED;
	interest = look_into(op, file_of_fd(call.fd));
	if (interest == UNWANTED)
		return IOCB_UNWANTED;
	if (op->op != OP_AIO_FSYNC) {
		struct iocb_range range;

		if (bpf_probe_read_user(&range, sizeof(range), (void *)address + offsetof(struct iocb, range)))
			return IOCB_UNREADABLE;
		op->requested_bytes = asked_for(range.bytes);
		if (call.opcode == IOCB_PREADV || call.opcode == IOCB_PWRITEV)
			op->requested_bytes = vector_bytes((struct iovec *)range.buffer, range.bytes);
		/* Only the kernel's iocb has the offset of an append, and it is gone when the program gets the result. */
		if (op->op == OP_AIO_READ || !(call.rw_flags & RWF_APPEND || op->open_flags & O_APPEND))
			op->offset_bytes = range.offset;
	}
	begin_async_in(bucket, &key, async);
	return interest == UNMET ? op->file_address : IOCB_BEGUN;
}

/* Removes an operation that the kernel did not take. */
__noinline int cancel_iocb(__u64 address, __u64 context)
{
	struct async_key key = key_of_iocb(address, context);
	struct async_found found = find_async(&key);

	if (found.async)
		end_async(&found, &key);
	return 0;
}

/* Handles the end of an aio operation with an untracked submission. */
__noinline int unknown_iocb_ended(__u64 address, __s64 moved)
{
	struct iocb_call call;

	if (moved <= 0 || !may_be_earlier() || bpf_probe_read_user(&call, sizeof(call), (void *)address + offsetof(struct iocb, call)))
		return 0;
	return count_earlier(op_of_iocb(call.opcode), call.fd, moved);
}

/* Ends an operation. `address`: of an io_event in user space. */
__noinline int end_iocb(__u64 address, __u64 context)
{
	struct async_found found;
	struct async_key key;
	struct io_event event;

	if (bpf_probe_read_user(&event, sizeof(event), (void *)address))
		return 0;
	key = key_of_iocb(event.iocb, context);
	found = find_async(&key);
	if (!found.async)
		return unknown_iocb_ended(event.iocb, event.res);
	/* It is unknown which of two operations in flight with one iocb this event ends. */
	if (found.async->op.again)
		lose_unseen(&found.async->op, UNSEEN_AIO_SAME_IOCB);
	else
		emit_file_event_of(&found.async->op, &found.async->who, CLASS_SYSCALL, event.res);
	end_async(&found, &key);
	return 0;
}

/* Begins one batch of iocbs; `pointers`: addresses of iocbs in user space. IOCB_UNREADABLE: there are no more. */
__noinline __u64 begin_stretch(__u64 pointers, __u64 count, __u64 context, __u64 at_ns)
{
	__u64 iocb, begun;

	for (__u32 i = 0; i < IOCBS_A_STRETCH; i++) {
		if (i >= count)
			break;
		if (bpf_probe_read_user(&iocb, sizeof(iocb), (void *)(pointers + i * sizeof(iocb))))
			return IOCB_UNREADABLE;
		begun = begin_iocb(iocb, context, at_ns, AGAIN_UNKNOWN);
		if (begun == IOCB_MAY_BE_LEFT)
			begun = begin_iocb(iocb, context, at_ns, forget_iocb(iocb, context));
		/* The kernel stops at the first iocb that it cannot read. */
		if (begun == IOCB_UNREADABLE)
			return IOCB_UNREADABLE;
		if (begun > IOCB_MAY_BE_LEFT)
			name_met(begun, 0, 0, at_ns);
	}
	return IOCB_UNWANTED;
}

/* Handles a batch that is not recorded: earlier operations with its iocbs have ended nevertheless. */
__noinline __u64 forget_stretch(__u64 pointers, __u64 count, __u64 context)
{
	__u64 iocb;

	for (__u32 i = 0; i < IOCBS_A_STRETCH; i++) {
		if (i >= count)
			break;
		if (bpf_probe_read_user(&iocb, sizeof(iocb), (void *)(pointers + i * sizeof(iocb))))
			return IOCB_UNREADABLE;
		forget_iocb(iocb, context);
	}
	return IOCB_UNWANTED;
}

__noinline __u64 cancel_stretch(__u64 pointers, __u64 count, __u64 context)
{
	__u64 iocb;

	for (__u32 i = 0; i < IOCBS_A_STRETCH; i++) {
		if (i >= count)
			break;
		if (bpf_probe_read_user(&iocb, sizeof(iocb), (void *)(pointers + i * sizeof(iocb))))
			return IOCB_UNREADABLE;
		cancel_iocb(iocb, context);
	}
	return IOCB_UNWANTED;
}

__noinline __u64 end_stretch(__u64 events, __u64 count, __u64 context)
{
	for (__u32 i = 0; i < IOCBS_A_STRETCH; i++) {
		if (i >= count)
			break;
		end_iocb(events + i * sizeof(struct io_event), context);
	}
	return IOCB_UNWANTED;
}

/*
 * Returns the number of `count` operations that the kernel may take at once; 0: there is no such context. User space
 * may have written what is read here, and before the first use of a context it cannot be read.
 */
static __always_inline __u64 most_at_once(__u64 context, __u64 count)
{
	struct aio_ring ring;

	if ((__s64)count <= 0)
		return 0;
	/*
	 * A number this small can be processed. Operations that the kernel does not take are then cancelled, also if
	 * there is no such context.
	 */
	if (count <= IOCBS_A_STRETCH)
		return count;
	if (bpf_probe_read_user(&ring, sizeof(ring), (void *)context))
		return count;
	if (ring.magic != AIO_RING_MAGIC)
		return 0;
	return count < ring.nr ? count : ring.nr;
}

static __always_inline void aio_submitted(__u64 context, __u64 count, __u64 pointers, bool leaves_out)
{
	__u64 at_ns = bpf_ktime_get_ns(), stop = IOCB_UNWANTED, begun_before, first;
	struct account *account = account_of(CLASS_SYSCALL);

	if (!account)
		return;
	begun_before = account->async_begun;
	count = most_at_once(context, count);
	for (__u32 stretch = 0; stretch < STRETCHES; stretch++) {
		first = stretch * IOCBS_A_STRETCH;
		if (first >= count || stop)
			break;
		if (leaves_out)
			stop = forget_stretch(pointers + first * sizeof(__u64), count - first, context);
		else
			stop = begin_stretch(pointers + first * sizeof(__u64), count - first, context, at_ns);
	}
	/* Operations that others have begun on this CPU meanwhile may cause a needless process record, which is harmless. */
	if (account->async_begun != begun_before)
		tell_current(at_ns);
}

static __always_inline bool is_aio(unsigned long number)
{
	return number == NR_IO_SUBMIT || number == NR_IO_GETEVENTS || number == NR_IO_PGETEVENTS;
}

/*
 * Removes operations that were begun and that the kernel did not take. `taken`: return value of the call; operations
 * beyond all batches are lost.
 */
static __always_inline void aio_taken(__u64 context, __u64 count, __u64 pointers, __u64 taken)
{
	__u64 first, stop = IOCB_UNWANTED;

	if (taken > STRETCHES * IOCBS_A_STRETCH)
		lose_unknown_aio(taken - STRETCHES * IOCBS_A_STRETCH, UNSEEN_AIO_NOT_ASKED);
	if ((__s64)count <= 0)
		return;
	for (__u32 stretch = 0; stretch < STRETCHES; stretch++) {
		first = taken + stretch * IOCBS_A_STRETCH;
		if (first >= count || stop)
			break;
		stop = cancel_stretch(pointers + first * sizeof(__u64), count - first, context);
	}
}

/* `ret`: number of operations taken, or of events returned. */
static __always_inline void aio_returned(unsigned long number, struct pt_regs *regs, long ret)
{
	__u64 told = ret > 0 ? ret : 0, context = regs->di, events = regs->r10, first;

	if (number == NR_IO_SUBMIT) {
		aio_taken(context, regs->si, regs->dx, told);
		return;
	}
	for (__u32 stretch = 0; stretch < STRETCHES; stretch++) {
		first = stretch * IOCBS_A_STRETCH;
		if (first >= told)
			return;
		end_stretch(events + first * sizeof(struct io_event), told - first, context);
	}
}

#endif
