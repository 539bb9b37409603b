/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages of files that several processes write: for each page the process that wrote it last, as long as the file has
 * dirty pages. Neighbouring pages share an entry, and an entry refers to its writers by numbers, so that a file with
 * every page dirty takes little more than one with few dirty pages.
 */
#ifndef IOSTRATA_PAGES_H
#define IOSTRATA_PAGES_H

enum { CHUNK_PAGES = 16, MAX_WRITERS = 16384 };

/* Maximum part of one write that is stored at once: 16 MiB. */
enum { MAX_TOLD_CHUNKS = 256 };

/*
 * Writer of a page: the ID of its thread (PID_MAX_LIMIT is 2^22), a version that distinguishes it from others that had
 * the ID, and marks. 0: none.
 */
enum { WRITER_TID_BITS = 22, WRITER_VERSIONS = 256, WRITER_TRIES = 4 };
static const __u32 WRITER_BITS = (1U << 30) - 1;
/* The page became dirty with its folio; no write to it was seen. */
static const __u32 WITH_FOLIO = 1U << 30;
/* Others had written parts of it before. */
static const __u32 SEVERAL = 1U << 31;

struct page_key {
	struct inode_key inode;
	/* Index of the first page, in chunks. */
	__u64 chunk;
};

struct page_chunk {
	/* `epoch_ns` of the inode's entry when this entry was created. */
	__u64 epoch_ns;
	__u32 writer[CHUNK_PAGES];
};

/*
 * Key: inode and chunk; value: writers of the chunk's pages. Written by tell_chunk(). LRU: pages of an evicted entry
 * are unattributed. User space sets the size by the machine's memory: `page_chunks` of the configuration.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct page_key);
	__type(value, struct page_chunk);
} page_owners SEC(".maps");

/*
 * Key: writer of a page, without marks; value: its owner. Written by number_of_writer(). LRU: pages of an evicted
 * writer are unattributed, and counted.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_WRITERS);
	__type(key, __u32);
	__type(value, struct owner);
} writers SEC(".maps");

/* Key: 0; value: number of entries added to `page_owners`. Shows whether any can have been evicted. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} chunks_told SEC(".maps");

/* Returns the number of entries added, plus one, so that it is never 0. */
static __always_inline __u64 chunks_told_now(void)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&chunks_told, &zero);

	return count ? *count + 1 : 1;
}

/* Returns whether an entry that was created since `since` can have been evicted. */
static __always_inline bool may_be_forgotten(__u64 since)
{
	return chunks_told_now() - since > config.page_chunks / 2;
}

static __always_inline bool same_writer(struct owner *one, struct owner *other)
{
	__u64 *words = (__u64 *)&one->who, *others = (__u64 *)&other->who;

	return words[0] == others[0] && words[1] == others[1] && words[2] == others[2] && words[3] == others[3] &&
	       one->start_ns == other->start_ns;
}

/* Returns the number of a writer; 0 if none is available. */
static __always_inline __u32 number_of_writer(struct owner *owner)
{
	__u64 *words = (__u64 *)&owner->who;
	__u32 version = mix(owner->start_ns ^ words[1] ^ mix(words[2] ^ words[3]));

	for (int try = 0; try < WRITER_TRIES; try++) {
		__u32 number = owner->who.tid | ((version + try) & (WRITER_VERSIONS - 1)) << WRITER_TID_BITS;
		struct owner *known = bpf_map_lookup_elem(&writers, &number);
		struct account *account;

		if (known && same_writer(known, owner))
			return number;
		if (known)
			continue;
		if (bpf_map_update_elem(&writers, &number, owner, BPF_ANY))
			return 0;
		account = account_of(CLASS_BLOCK);
		if (account)
			account->writers_remembered++;
		return number;
	}
	return 0;
}

/* Written pages to be stored, for the functions below. */
struct telling {
	struct page_key key;
	__u64 epoch_ns;
	/* Pages: first and last. */
	__u64 first;
	__u64 last;
	/* Bytes of the file that were written: start and end. */
	__u64 from;
	__u64 until;
	__u32 writer;
	/* No page was dirty. */
	__u16 were_clean;
	/* The writer is the owner of every page without an entry. */
	__u16 is_first;
	struct page_chunk fresh;
};
/* Key: 0. Arguments of the functions below. Written by remember_writer(). */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct telling);
} tellings SEC(".maps");

/* Returns the new writer of page `page`, with `was` as the old one. */
static __always_inline __u32 told_page(struct telling *telling, __u64 page, __u32 was)
{
	__u64 begin = page * PAGE_BYTES, end = begin + PAGE_BYTES;
	bool written = telling->from < end && telling->until > begin;

	if (page < telling->first || page > telling->last)
		return was;
	if (telling->were_clean)
		return written ? telling->writer : telling->writer | WITH_FOLIO;
	if (!written)
		return was;
	if ((was & WRITER_BITS) == telling->writer)
		return was & ~WITH_FOLIO;
	/* The data that goes to the device is this writer's alone. */
	if ((telling->from <= begin && telling->until >= end) || was & WITH_FOLIO || (!was && telling->is_first))
		return telling->writer;
	return telling->writer | SEVERAL;
}

/* Stores one entry. A global function, like add_part(). Returns an error if the entry cannot be stored. */
__noinline int tell_chunk(__u32 zero)
{
	struct telling *telling = bpf_map_lookup_elem(&tellings, &zero);
	struct account *account;
	struct page_chunk *chunk;
	__u64 page, *count;

	if (!telling)
		return 1;
	page = telling->key.chunk * CHUNK_PAGES;
	chunk = bpf_map_lookup_elem(&page_owners, &telling->key);
	if (chunk && chunk->epoch_ns == telling->epoch_ns) {
		for (int i = 0; i < CHUNK_PAGES; i++)
			chunk->writer[i] = told_page(telling, page + i, chunk->writer[i]);
		return 0;
	}
	telling->fresh.epoch_ns = telling->epoch_ns;
	for (int i = 0; i < CHUNK_PAGES; i++)
		telling->fresh.writer[i] = told_page(telling, page + i, 0);
	if (bpf_map_update_elem(&page_owners, &telling->key, &telling->fresh, BPF_ANY))
		return 1;
	if (chunk)
		return 0;
	count = bpf_map_lookup_elem(&chunks_told, &zero);
	if (count)
		__sync_fetch_and_add(count, 1);
	account = account_of(CLASS_BLOCK);
	if (account)
		account->chunks_remembered++;
	return 0;
}

/* Stores all entries. Returns an error if not all are stored. A global function, like tell_chunk(). */
__noinline int tell_pages(__u32 zero)
{
	struct telling *telling = bpf_map_lookup_elem(&tellings, &zero);

	if (!telling)
		return 1;
	for (int i = 0; i < MAX_TOLD_CHUNKS; i++) {
		if (telling->key.chunk * CHUNK_PAGES > telling->last)
			return 0;
		if (tell_chunk(zero))
			return 1;
		telling->key.chunk++;
	}
	return telling->key.chunk * CHUNK_PAGES <= telling->last;
}

/* Lookup of pages of one file, one after the other, and the result for the last page. */
struct page_finder {
	/* Address of the inode; 0: none yet. */
	__u64 inode;
	__u64 is_known;
	struct inode_owner known;
	__u64 is_vague;
	struct page_key key;
	struct page_chunk chunk;
	__u32 writer;
	__u32 evidence;
	struct owner owner;
};

/* Returns whether the file system has an event for each write, not only for pages that become dirty. */
static __always_inline bool tells_writes(unsigned long magic)
{
	return (magic == EXT4_SUPER_MAGIC && config.told_writes & TOLD_WRITES_EXT4) ||
	       (magic == XFS_SUPER_MAGIC && config.told_writes & TOLD_WRITES_XFS);
}

/* Returns whether others may have changed dirty pages of the file unseen: by a mapping, or by calls without an event. */
static __always_inline bool may_change_unseen(struct inode *inode)
{
	return !tells_writes(BPF_CORE_READ(inode, i_sb, s_magic)) ||
	       (__s32)BPF_CORE_READ(inode, i_mapping, i_mmap_writable.counter) > 0;
}

static __always_inline void look_at_inode(struct page_finder *finder, struct file_page *file)
{
	struct inode_owner *known = inode_owner_of(file);

	finder->inode = (__u64)file->inode;
	finder->is_known = !!known;
	if (!known)
		return;
	finder->known = *known;
	finder->is_vague = known->is_vague || may_change_unseen(file->inode);
	finder->key.inode = file->inode_key;
	/* None yet. */
	finder->key.chunk = -1;
}

static __always_inline void look_at_chunk(struct page_finder *finder, __u64 index)
{
	struct page_chunk *chunk;

	if (finder->key.chunk == index / CHUNK_PAGES)
		return;
	finder->key.chunk = index / CHUNK_PAGES;
	chunk = bpf_map_lookup_elem(&page_owners, &finder->key);
	if (chunk && chunk->epoch_ns == finder->known.epoch_ns)
		finder->chunk = *chunk;
	else
		__builtin_memset(&finder->chunk, 0, sizeof(finder->chunk));
}

enum finding { FOUND, NOBODYS, FORGOTTEN };

/* Finds the writer of a page, into `finder`. */
static __always_inline enum finding find_writer_of(struct page_finder *finder, struct file_page *file)
{
	__u32 told, number;
	struct owner *writer;

	if (finder->inode != (__u64)file->inode)
		look_at_inode(finder, file);
	if (!finder->is_known)
		return NOBODYS;
	finder->evidence = EVIDENCE_INODE;
	told = 0;
	if (finder->known.shared_since) {
		look_at_chunk(finder, file->index);
		told = finder->chunk.writer[file->index & (CHUNK_PAGES - 1)];
		finder->evidence = finder->is_vague || told & SEVERAL ? EVIDENCE_FOLIO : EVIDENCE_PAGE;
	}
	number = told & WRITER_BITS;
	if (number) {
		if (number == finder->writer)
			return FOUND;
		writer = bpf_map_lookup_elem(&writers, &number);
		finder->writer = writer ? number : 0;
		if (!writer)
			return FORGOTTEN;
		finder->owner = *writer;
		return FOUND;
	}
	/* The first owner's, from before there was a second one; unless its entry can have been evicted. */
	if (finder->known.shared_since && may_be_forgotten(finder->known.shared_since))
		return FORGOTTEN;
	finder->writer = 0;
	finder->owner = finder->known.first;
	return finder->known.first.who.pid ? FOUND : NOBODYS;
}

#endif
