/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parts of a bio or a request, if there is more than one: pages of several processes, or merged bios of several owners,
 * classes or files. Part 0 is the owner's; the record carries the others.
 */
#ifndef IOSTRATA_PARTS_H
#define IOSTRATA_PARTS_H

enum { PART_LISTS = 4096 };

struct part_list {
	/*
	 * Time at which the bio, or the first bio of the request, was queued: distinguishes the list from that of an
	 * earlier use of the address.
	 */
	__u64 queue_ns;
	__u64 count;
	struct part part[MAX_PARTS];
};

/*
 * Key: number_of() the bio or request with several parts. Written by keep_parts() and move_parts(). LRU: evicted parts
 * are unattributed.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, PART_LISTS);
	__type(key, __u64);
	__type(value, struct part_list);
} part_lists SEC(".maps");

/* Program that collects parts. One may interrupt another one on its CPU, so each has its own entry. */
enum gatherer { GATHERER_QUEUED, GATHERER_SPLIT, GATHERER_ISSUED, GATHERER_COMPLETED, GATHERER_COUNT };

struct gathering {
	/* Part to be added. */
	struct part next;
	struct part_list list;
};

/* Key: enum gatherer; value: parts being collected. Written by the program of that number. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GATHERER_COUNT);
	__type(key, __u32);
	__type(value, struct gathering);
} gatherings SEC(".maps");

static __always_inline struct gathering *gathering_of(__u32 gatherer)
{
	return bpf_map_lookup_elem(&gatherings, &gatherer);
}

static __always_inline bool same_owner(struct part *one, struct part *other)
{
	return one->who.pid == other->who.pid && one->start_ns == other->start_ns && one->io_class == other->io_class &&
	       (one->who.pid || one->who.cgroup_id == other->who.cgroup_id);
}

/* Returns whether a part needs no entry: unattributed bytes of the first part's class are those in no part. */
static __always_inline bool goes_without_saying(struct part *first, struct part *next)
{
	return !next->who.pid && next->io_class == first->io_class && (!next->who.cgroup_id || same_owner(first, next));
}

/*
 * Adds `next` to the list. Without room for another file of an owner, the owner's first part becomes one of several
 * files; without room for another owner, its bytes stay unattributed. A global function: the verifier checks it once,
 * however often it is called. It finds its data in a map, because before 5.12 such functions take only scalars.
 */
__noinline int add_part(__u32 gatherer)
{
	struct gathering *gathering = gathering_of(gatherer);

	if (!gathering)
		return 0;
	for (__u32 i = 0; i < MAX_PARTS; i++) {
		struct part *part = &gathering->list.part[i];

		if (i >= gathering->list.count) {
			*part = gathering->next;
			gathering->list.count = i + 1;
			return 0;
		}
		if (!i && goes_without_saying(part, &gathering->next)) {
			/* Unattributed as well, but of another file. */
			if (!part->who.pid && part->ino != gathering->next.ino)
				part->ino = part->file_dev = 0;
			return 0;
		}
		if (same_owner(part, &gathering->next) && part->evidence == gathering->next.evidence &&
		    part->ino == gathering->next.ino && part->file_dev == gathering->next.file_dev) {
			part->bytes += gathering->next.bytes;
			return 0;
		}
	}
	for (__u32 i = 0; i < MAX_PARTS; i++) {
		struct part *part = &gathering->list.part[i];

		if (same_owner(part, &gathering->next)) {
			part->bytes += gathering->next.bytes;
			if (part->ino != gathering->next.ino || part->file_dev != gathering->next.file_dev) {
				part->ino = 0;
				part->file_dev = 0;
			}
			/* With two kinds of evidence, the sum gets the less certain one. */
			if (gathering->next.evidence == EVIDENCE_FOLIO)
				part->evidence = EVIDENCE_FOLIO;
			return 0;
		}
	}
	return 0;
}

/* Stores the collected parts of a bio or request that was queued at `queue_ns`, and their number in its origin. */
static __always_inline void keep_parts(__u64 number, __u64 queue_ns, struct origin *origin, __u32 gatherer)
{
	struct gathering *gathering = gathering_of(gatherer);

	origin->others = 0;
	if (!gathering || gathering->list.count < 2)
		return;
	gathering->list.queue_ns = queue_ns;
	if (!bpf_map_update_elem(&part_lists, &number, &gathering->list, BPF_ANY))
		origin->others = gathering->list.count - 1;
}

static __always_inline struct part_list *parts_of(__u64 number, __u64 queue_ns, struct origin *origin)
{
	struct part_list *list = origin->others ? bpf_map_lookup_elem(&part_lists, &number) : 0;

	return list && list->queue_ns == queue_ns ? list : 0;
}

/* Moves parts along when a bio becomes a request, or a request becomes a bio again because it is merged into another one. */
static __always_inline void move_parts(__u64 from, __u64 to, __u64 queue_ns, struct origin *origin)
{
	struct part_list *list = parts_of(from, queue_ns, origin);

	if (!list || bpf_map_update_elem(&part_lists, &to, list, BPF_ANY))
		origin->others = 0;
	bpf_map_delete_elem(&part_lists, &from);
}

/* Ends the parts of a request whose record has them. */
static __always_inline void forget_parts(__u64 number)
{
	bpf_map_delete_elem(&part_lists, &number);
}

#endif
