/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Record of a block request that has ended. */
#ifndef IOSTRATA_RECORD_H
#define IOSTRATA_RECORD_H

#include "core/request_op.bpf.h"

#define FLAG(cmd_flags, bit, ours)                                                                                     \
	(bpf_core_enum_value_exists(enum req_flag_bits, bit) &&                                                        \
			 ((cmd_flags) >> bpf_core_enum_value(enum req_flag_bits, bit) & 1)                             \
		 ? (ours)                                                                                              \
		 : 0)

static __always_inline __u16 flags_of(__u32 cmd_flags)
{
	return FLAG(cmd_flags, __REQ_SYNC, REQUEST_SYNC) | FLAG(cmd_flags, __REQ_META, REQUEST_META) |
	       FLAG(cmd_flags, __REQ_PRIO, REQUEST_PRIO) | FLAG(cmd_flags, __REQ_FUA, REQUEST_FUA) |
	       FLAG(cmd_flags, __REQ_PREFLUSH, REQUEST_PREFLUSH) | FLAG(cmd_flags, __REQ_RAHEAD, REQUEST_RAHEAD) |
	       FLAG(cmd_flags, __REQ_BACKGROUND, REQUEST_BACKGROUND) | FLAG(cmd_flags, __REQ_NOWAIT, REQUEST_NOWAIT) |
	       FLAG(cmd_flags, __REQ_SWAP, REQUEST_SWAP);
}

static __always_inline void count_own(struct inflight_request *state, __u8 op)
{
	struct own_io none = {}, *own;
	__u32 dev = state->from.origin.dev;

	/* The counts are checked against the kernel's device counters, which do not include this request. */
	if (state->flags & REQUEST_UNCOUNTED)
		return;
	own = bpf_map_lookup_elem(&own_io, &dev);
	if (!own) {
		bpf_map_update_elem(&own_io, &dev, &none, BPF_NOEXIST);
		own = bpf_map_lookup_elem(&own_io, &dev);
		/*
		 * More disks than the map has entries: the check against the kernel's device counters fails for this
		 * disk, which reveals it.
		 */
		if (!own)
			return;
	}
	if (op == OP_DISCARD || op == OP_SECURE_ERASE) {
		own->discard_ops++;
		own->discard_bytes += state->bytes_done;
	} else if (op == OP_READ) {
		own->read_ops++;
		own->read_bytes += state->bytes_done;
	} else {
		own->write_ops++;
		own->write_bytes += state->bytes_done;
	}
}

static __always_inline void fill_block_event(struct block_event *event, struct inflight_request *state, __u8 op,
					     __s32 error, __u64 end_ns)
{
	__u64 first_ns = state->insert_ns ? state->insert_ns : state->issue_ns;

	fill_head(&event->head, CLASS_BLOCK, op, FD_UNKNOWN, state->queue_ns ? state->queue_ns : end_ns);
	event->duration_ns = state->queue_ns && end_ns ? end_ns - state->queue_ns : MISSING;
	event->queue_ns = state->queue_ns && first_ns ? first_ns - state->queue_ns : MISSING;
	event->insert_ns = state->insert_ns && state->issue_ns ? state->issue_ns - state->insert_ns : MISSING;
	event->sector = op == OP_FLUSH || op == OP_DEVICE_FLUSH ? MISSING : (__s64)state->bio_or_sector;
	event->bytes = state->bytes_done;
	event->error = error;
	event->flags = state->flags;
	event->bios = state->bios;
	event->requeues = state->requeues;
	event->reserved = 0;
	event->origin = state->from.origin;
	/* The parts of a split bio have the value of the whole bio. */
	if (state->from.origin.owned_bytes > state->bytes_done)
		event->origin.owned_bytes = state->bytes_done;
}

/* Emits the record of a request with several parts. False if the parts are no longer known. */
static __always_inline bool emit_parts(void *ring, struct inflight_request *state, __u8 op, __s32 error, __u64 end_ns)
{
	struct part_list *list = parts_of(state->request, state->queue_ns, &state->from.origin);
	struct account *shares = account_of(CLASS_SHARE);
	struct block_event_parts *event;
	__u64 request = state->request;

	if (!list || !shares)
		return false;
	shares->seen += state->from.origin.others;
	event = reserve_event(ring, CLASS_BLOCK, sizeof(*event), op, state->bytes_done);
	if (!event) {
		shares->ring_full += state->from.origin.others;
		return true;
	}
	fill_block_event(&event->submitted.event, state, op, error, end_ns);
	event->submitted.submitter = state->from.submitter;
	__builtin_memcpy(event->others, &list->part[1], sizeof(event->others));
	submit_event(event, sizeof(*event));
	forget_parts(request);
	return true;
}

/* Counts a request that took less than the minimum latency. A request of unknown duration may have taken longer. */
static __always_inline bool is_below_latency(struct inflight_request *state, __u64 end_ns)
{
	struct account *account;

	if (!config.min_latency_ns || !state->queue_ns || !end_ns || end_ns - state->queue_ns >= config.min_latency_ns)
		return false;
	account = account_of(CLASS_BLOCK);
	if (account) {
		account->short_requests++;
		add_io(&account->short_io, state->op, state->bytes_done);
	}
	if (state->from.origin.others)
		forget_parts(state->request);
	return true;
}

/* Emits the record of a request that has ended; `end_ns` is 0 if the end time is unknown. */
static __always_inline void emit_request(struct inflight_request *state, __s32 error, __u64 end_ns)
{
	__u8 op = state->op;
	struct block_event_submitted *submitted;
	struct block_event *event;
	void *ring;

	if (state->own) {
		count_own(state, op);
		return;
	}
	if (is_below_latency(state, end_ns))
		return;
	ring = ring_of_this_cpu(CLASS_BLOCK);
	if (!ring)
		return;
	if (state->from.origin.others) {
		if (emit_parts(ring, state, op, error, end_ns))
			return;
		state->from.origin.others = 0;
	}
	if (state->from.origin.has_submitter) {
		submitted = reserve_event(ring, CLASS_BLOCK, sizeof(*submitted), op, state->bytes_done);
		if (!submitted)
			return;
		fill_block_event(&submitted->event, state, op, error, end_ns);
		submitted->submitter = state->from.submitter;
		submit_event(submitted, sizeof(*submitted));
	} else {
		event = reserve_event(ring, CLASS_BLOCK, sizeof(*event), op, state->bytes_done);
		if (!event)
			return;
		fill_block_event(event, state, op, error, end_ns);
		submit_event(event, sizeof(*event));
	}
}

#endif
