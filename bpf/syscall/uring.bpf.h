/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System call layer: io_uring. Tracepoints report a request at its submission and at its completion. A request has no
 * completion if it suppresses it (IOSQE_CQE_SKIP_SUCCESS), and none that is reported if the completion queue is full;
 * its memory is reused all the same. So a request that begins at an address ends what was left there.
 */
#ifndef IOSTRATA_URING_H
#define IOSTRATA_URING_H

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
	IORING_OP_SPLICE = 30,
	IORING_OP_URING_CMD = 46,
	IORING_OP_READV_FIXED = 60,
	IORING_OP_WRITEV_FIXED = 61,
};

/* The lower bits of a request's flags are those of its submission (IOSQE_*). */
enum { URING_FIXED_FILE = 1, URING_BUFFER_SELECT = 1 << 5, URING_SKIPS_COMPLETION = 1 << 6 };

/* uapi/linux/io_uring.h: the source file of the splice is in the ring's fixed file table. */
enum { SPLICE_FD_IN_FIXED = 1U << 31 };

/*
 * Key: opcode; value: number of requests that may have moved file data and have no row, because their opcode is unknown
 * here. Written at submission.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u64);
} unknown_opcodes SEC(".maps");

static __always_inline __u8 op_of_uring(__u8 opcode)
{
	switch (opcode) {
	case IORING_OP_READ: case IORING_OP_READV: case IORING_OP_READ_FIXED: case IORING_OP_READV_FIXED:
		return OP_URING_READ;
	case IORING_OP_WRITE: case IORING_OP_WRITEV: case IORING_OP_WRITE_FIXED: case IORING_OP_WRITEV_FIXED:
		return OP_URING_WRITE;
	case IORING_OP_FSYNC:
		return OP_URING_FSYNC;
	case IORING_OP_SYNC_FILE_RANGE:
		return OP_URING_SYNC_FILE_RANGE;
	case IORING_OP_FALLOCATE:
		return OP_URING_FALLOCATE;
	case IORING_OP_SPLICE:
		return OP_URING_SPLICE_OUT;
	}
	return OP_NONE;
}

static __always_inline bool has_vector(__u8 opcode)
{
	return opcode == IORING_OP_READV || opcode == IORING_OP_WRITEV || opcode == IORING_OP_READV_FIXED ||
	       opcode == IORING_OP_WRITEV_FIXED;
}

static __always_inline struct async_key key_of_uring(const void *req)
{
	struct async_key key = { .address = address_of(req) };

	return key;
}

static __always_inline void count_unknown(__u32 opcode)
{
	__u64 *count = bpf_map_lookup_elem(&unknown_opcodes, &opcode);

	if (count)
		(*count)++;
}

/* Fills in the byte range of a read or write. */
static __always_inline void fill_range(struct file_op *op, struct io_kiocb *req, __u8 opcode, __u32 flags)
{
	struct io_rw *rw = (struct io_rw *)req;

	op->requested_bytes = BPF_CORE_READ(rw, len);
	if (has_vector(opcode))
		op->requested_bytes = vector_bytes((struct iovec *)BPF_CORE_READ(rw, addr), op->requested_bytes);
	else if (flags & URING_BUFFER_SELECT && !op->requested_bytes)
		/* Up to the size of the buffer that the kernel will select. */
		op->requested_bytes = MISSING;
	op->offset_bytes = BPF_CORE_READ(rw, kiocb.ki_pos);
	/* -1: the file's position. */
	if (op->offset_bytes == -1)
		op->offset_bytes = MISSING;
}

/*
 * Looks up the file of a splice, which is between a file and a pipe: either end may be the file. The source is looked
 * up by the kernel during the splice, so it is looked up now. If it is in the ring's fixed file table, it is unknown.
 */
static __always_inline enum interest look_at_splice(struct file_op *op, struct io_kiocb *req, bool *is_known)
{
	struct io_splice *splice = (struct io_splice *)req;
	struct file_op source = *op;
	enum interest interest;

	op->requested_bytes = asked_for(BPF_CORE_READ(splice, len));
	op->offset_bytes = BPF_CORE_READ(splice, off_out);
	if (BPF_CORE_READ(splice, flags) & SPLICE_FD_IN_FIXED)
		return UNMET;
	interest = look_into(&source, file_of_fd(BPF_CORE_READ(splice, splice_fd_in)));
	if (interest == UNWANTED)
		return UNMET;
	source.op = OP_URING_SPLICE_IN;
	source.requested_bytes = op->requested_bytes;
	source.offset_bytes = BPF_CORE_READ(splice, off_in);
	*op = source;
	*is_known = true;
	return interest;
}

/*
 * Returns whether the file of a request is recorded, as far as that is known before the request is issued: a descriptor
 * can be looked up, the ring's fixed file table cannot.
 */
static __always_inline bool may_be_wanted(struct file_op *op, struct io_kiocb *req, __u32 flags)
{
	struct file_op looked = *op;
	struct file *file;

	if (flags & URING_FIXED_FILE)
		return true;
	file = file_of_fd(BPF_CORE_READ(req, cqe.fd));
	return !file || look_into(&looked, file) != UNWANTED;
}

/* Handles a submission. In the context of the submitter or of the SQPOLL thread, which is one of the submitter's own. */
static __always_inline int uring_submitted(struct io_kiocb *req)
{
	struct async_op async = { .op = { .offset_bytes = MISSING, .requested_bytes = MISSING } };
	struct async_key key = key_of_uring(req);
	struct file_op *op = &async.op;
	__u8 opcode = req->opcode;
	__u32 flags = req->flags;
	bool is_known = false;

	if (!makes_rows())
		return 0;
	lose_stale(&key, UNSEEN_URING_NOT_TOLD);
	op->op = op_of_uring(opcode);
	if (op->op == OP_NONE && opcode != IORING_OP_URING_CMD && opcode < FIRST_UNKNOWN_OPCODE)
		return 0;
	if (is_recorder() || !owner_wanted() || !samples_this_moment())
		return 0;
	if (op->op == OP_NONE) {
		count_unknown(opcode);
		return 0;
	}
	if (op->op == OP_URING_READ || op->op == OP_URING_WRITE)
		fill_range(op, req, opcode, flags);
	else if (op->op == OP_URING_SPLICE_OUT)
		look_at_splice(op, req, &is_known);
	if (!is_known && !may_be_wanted(op, req, flags))
		return 0;
	op->start_ns = bpf_ktime_get_ns();
	if (flags & URING_SKIPS_COMPLETION) {
		lose_unseen(op, UNSEEN_URING_SKIPPED);
		return 0;
	}
	op->knows_file = is_known;
	tell_current(op->start_ns);
	begin_async(&key, &async);
	return 0;
}

/* Fills in the offset of an append, and of I/O at the file position: the kernel's position is now at its end. */
static __always_inline void fill_place(struct file_op *op, struct io_kiocb *req, __s32 res)
{
	struct io_rw *rw = (struct io_rw *)req;

	if (op->op != OP_URING_READ && op->op != OP_URING_WRITE)
		return;
	if (op->offset_bytes != MISSING && !(op->op == OP_URING_WRITE && BPF_CORE_READ(rw, kiocb.ki_flags) & IOCB_APPEND))
		return;
	op->offset_bytes = res > 0 ? BPF_CORE_READ(rw, kiocb.ki_pos) - res : MISSING;
}

/*
 * Handles the completion of a request with an untracked submission, or a further completion. In the context of the
 * process that submitted it, or of one of its workers.
 */
static __always_inline void unknown_uring_ended(struct io_kiocb *req, __s32 moved)
{
	__u8 op = op_of_uring(BPF_CORE_READ(req, opcode));

	if (moved > 0 && (op == OP_URING_READ || op == OP_URING_WRITE) && may_be_earlier())
		count_earlier_on(op, BPF_CORE_READ(req, file), moved);
}

/*
 * Handles a completion. The file is certain only now: it may have been looked up after the submission. `req`: NULL for
 * a completion without a request.
 */
static __always_inline int uring_completed(struct io_kiocb *req, __s32 res)
{
	struct async_key key = { .address = (__u64)req };
	struct async_found found;
	struct file_op op;

	/* A further completion of a request with several completions; such a request is not tracked. */
	if (!req || !makes_rows())
		return 0;
	found = find_async(&key);
	if (!found.async) {
		unknown_uring_ended(req, res);
		return 0;
	}
	op = found.async->op;
	fill_place(&op, req, res);
	if (op.knows_file || fill_wanted(&op, BPF_CORE_READ(req, file), found.async->who.pid))
		emit_file_event_of(&op, &found.async->who, CLASS_SYSCALL, res);
	end_async(&found, &key);
	return 0;
}

/* io_uring_submit_req: a request is submitted. */
SEC("?tp_btf/io_uring_submit_req")
int TIMED_PROG(iostrata_io_uring_submit_req, struct io_kiocb *req)
{
	return uring_submitted(req);
}

/* Until 6.4: io_uring_submit_sqe. */
SEC("?tp_btf/io_uring_submit_sqe")
int TIMED_PROG(iostrata_io_uring_submit_sqe, struct io_kiocb *req)
{
	return uring_submitted(req);
}

/* io_uring_complete: a request completes. Emits its record. */
SEC("?tp_btf/io_uring_complete")
int TIMED_PROG(iostrata_io_uring_complete, void *ring, void *req, struct io_uring_cqe *cqe)
{
	return uring_completed(req, BPF_CORE_READ(cqe, res));
}

/* The same where the tracepoint passes the members of the completion one by one. */
SEC("?tp_btf/io_uring_complete")
int TIMED_PROG(iostrata_io_uring_complete_apart, void *ring, void *req, __u64 user_data, int res)
{
	return uring_completed(req, res);
}

/* Handles a submission that the kernel refuses: it is not reported as a submission, and completes at once. */
static __always_inline int uring_refused(struct io_kiocb *req)
{
	struct async_key key = key_of_uring(req);

	if (makes_rows())
		lose_stale(&key, UNSEEN_URING_NOT_TOLD);
	return 0;
}

/* io_uring_req_failed: the kernel refuses a submission. */
SEC("?tp_btf/io_uring_req_failed")
int TIMED_PROG(iostrata_io_uring_req_failed, void *sqe, struct io_kiocb *req)
{
	return uring_refused(req);
}

/* Until 6.2, with the ring before the request. */
SEC("?tp_btf/io_uring_req_failed")
int TIMED_PROG(iostrata_io_uring_req_failed_ring, void *sqe, void *ring, struct io_kiocb *req)
{
	return uring_refused(req);
}

/*
 * io_uring_cqe_overflow: the completion queue is full. The tracepoint does not identify the request, so only the number
 * is counted: that many of the remaining entries are no longer in flight.
 */
SEC("?tp_btf/io_uring_cqe_overflow")
int TIMED_PROG(iostrata_io_uring_cqe_overflow, void *ring)
{
	struct account *account = account_of(CLASS_SYSCALL);

	if (account && makes_rows())
		account->uring_overflows++;
	return 0;
}

#endif
