/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Aggregation of events that occur page by page: a record covers all that one process did to one file by one kind of
 * access, on one CPU, within a second, or until user space takes it.
 */
#ifndef IOSTRATA_GATHER_H
#define IOSTRATA_GATHER_H

/* Slots per CPU. */
enum { FS_SLOTS = 512 };

static const __u64 GATHER_NS = 1000000000;

/*
 * Key: a hash of process, file and kind; value: a slot. Per CPU, and the programs are not preempted, so nothing else
 * writes to a slot but the program by which user space takes records that have waited long enough (iostrata_fs_give).
 * That one runs in an interrupt of the same CPU and skips a slot that is busy. A slot that is needed for other events
 * submits its record; user space reads what is left at the stop.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FS_SLOTS);
	__type(key, __u32);
	__type(value, struct fs_slot);
} fs_slots SEC(".maps");

/*
 * Key: 0; value: not 0 if this CPU may have records in its slots, so that user space does not interrupt a CPU for
 * nothing. Written by note_waiting() and iostrata_fs_give.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} fs_waiting SEC(".maps");

/* Fills in the file; false if it is not recorded. */
static __always_inline bool fill_inode(struct fs_event *event, struct inode *inode)
{
	unsigned long magic = HOP(inode)->i_sb->s_magic;
	/* FD_UNKNOWN: an inode that a file system has for its own data, which is no user's file. */
	__u8 kind = is_allocators(inode) ? FD_UNKNOWN : kind_of(inode->i_mode & S_IFMT, magic);

	event->head.fd_kind = kind;
	event->dev = dev_of_inode(inode);
	event->ino = inode->i_ino;
	if (kind != FD_BLOCK && (is_pseudo(magic, is_internal(HOP(inode)->i_sb->s_flags)) || is_in_memory(magic)))
		return false;
	return device_wanted(event->dev);
}

static __always_inline void name_fs(struct fs_event *event, struct super_block *super)
{
	const char *name = HOP(super)->s_type->name;

	bpf_probe_read_kernel_str(event->fs, sizeof(event->fs), name);
}

/* Submits an aggregate that was counted in `seen` when it was opened. */
static __always_inline void hand_over(struct fs_event *gathered, struct account *account, __u64 duration_ns)
{
	struct fs_event *event;
	void *ring = ring_of_this_cpu(CLASS_FS);

	if (!ring)
		return;
	event = reserve_seen(ring, account, sizeof(*event), gathered->head.op, gathered->bytes);
	if (!event)
		return;
	*event = *gathered;
	event->duration_ns = duration_ns;
	submit_event(event, sizeof(*event));
}

/*
 * Notes that this CPU has a record in a slot. Called after the slot is marked as busy, so that the program that empties
 * the slots does not miss it.
 */
static __always_inline void note_waiting(void)
{
	__u64 *waiting = bpf_map_lookup_elem(&fs_waiting, (void *)&only_entry);

	if (waiting)
		*waiting = 1;
}

/* Adds pages to the events of the current process on a file. */
static __always_inline void gather_fs(struct inode *inode, __u8 op, __u8 via, __s64 offset, __u64 bytes)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct fs_event what = { .via = via }, *event;
	__u64 now_ns = bpf_ktime_get_ns();
	struct account *account;
	struct fs_slot *slot;
	__u32 key;

	if (!makes_rows() || pid == config.recorder_pid || !in_sample(now_ns) || !fill_inode(&what, inode) || !owner_wanted())
		return;
	key = hash_of(what.ino ^ (__u64)what.dev << 32 ^ (__u64)pid << 20 ^ op << 8 ^ via, FS_SLOTS);
	slot = bpf_map_lookup_elem(&fs_slots, &key);
	account = account_of(CLASS_FS);
	if (!slot || !account)
		return;
	slot->busy = 1;
	barrier();
	event = &slot->event;
	if (event->events && (event->who.pid != pid || event->ino != what.ino || event->dev != what.dev || event->head.op != op ||
			      event->via != via || slot->generation != inode->i_generation ||
			      now_ns - event->head.start_ns > GATHER_NS || changed_between(event->head.start_ns, now_ns))) {
		hand_over(event, account, slot->last_ns - event->head.start_ns);
		event->events = 0;
	}
	if (!event->events) {
		/*
		 * Counted in `seen` when it is opened, so that a record that is not submitted is missing in the event
		 * accounting.
		 */
		account->seen++;
		note_waiting();
		fill_head(&event->head, CLASS_FS, op, what.head.fd_kind, now_ns);
		identify_current(&event->who);
		event->offset_bytes = offset;
		event->bytes = 0;
		event->ino = what.ino;
		event->blocks = MISSING;
		event->dev = what.dev;
		event->via = via;
		slot->generation = inode->i_generation;
		name_fs(event, HOP(inode)->i_sb);
		tell_current(now_ns);
		meet_inode(inode, now_ns);
	}
	event->events++;
	event->bytes += bytes;
	if (offset < event->offset_bytes)
		event->offset_bytes = offset;
	slot->last_ns = now_ns;
	barrier();
	slot->busy = 0;
}

/*
 * Submits the record of this slot if nothing was added to it since `idle_ns` or it was opened before `begun_ns`.
 * Returns what is left in the slot: FS_LATER, FS_DUE, or 0. A global function: the verifier checks it once. It counts
 * nothing: the interrupted program may be counting. A record that finds no space in the ring stays in the slot, and is
 * tried again.
 */
__noinline int give_slot(__u32 key, __u64 idle_ns, __u64 begun_ns)
{
	struct fs_slot *slot = bpf_map_lookup_elem(&fs_slots, &key);
	struct fs_event *event;
	void *ring;

	if (!slot)
		return 0;
	/* Its record may be due, and the interrupted program submits it only after this. */
	if (slot->busy)
		return FS_DUE;
	if (!slot->event.events)
		return 0;
	if (slot->last_ns >= idle_ns && (__u64)slot->event.head.start_ns >= begun_ns)
		return FS_LATER;
	ring = ring_of_this_cpu(CLASS_FS);
	event = ring ? bpf_ringbuf_reserve(ring, sizeof(*event), 0) : 0;
	if (!event)
		return FS_DUE;
	*event = slot->event;
	event->duration_ns = slot->last_ns - event->head.start_ns;
	submit_event(event, sizeof(*event));
	slot->event.events = 0;
	return 0;
}

/*
 * Run by user space on each CPU with records in its slots (BPF_PROG_TEST_RUN), and attached to nothing: otherwise a
 * record would stay in its slot until the slot is needed for other events. Handles a few slots per run, because it is
 * in an interrupt; the first is slot `first`.
 */
SEC("?raw_tp")
int TIMED_PROG(iostrata_fs_give, __u64 first, __u64 idle_ns, __u64 begun_ns)
{
	__u64 *waiting = bpf_map_lookup_elem(&fs_waiting, (void *)&only_entry);
	int left = 0;

	if (!waiting)
		return 0;
	if (!first)
		*waiting = 0;
	for (__u32 i = 0; i < FS_SLOTS_A_RUN; i++)
		left |= give_slot(first + i, idle_ns, begun_ns);
	if (left)
		*waiting = 1;
	return left;
}

#endif
