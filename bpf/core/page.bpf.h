/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages, and the files that they belong to. Without maps: for any object. */
#ifndef IOSTRATA_PAGE_H
#define IOSTRATA_PAGE_H

#include "core/typed.bpf.h"

enum { PAGE_BYTES = 4096 };

struct inode_key {
	__u32 dev;
	__u32 reserved;
	__u64 ino;
};

/* Page of a file. */
struct file_page {
	struct inode_key inode_key;
	__u64 index;
	__u64 generation;
	struct inode *inode;
	/* Entry of the inode. Filled in by find_writer(). */
	struct inode_owner *known;
};

static __always_inline struct page *head_of(struct page *page)
{
	unsigned long head = BPF_CORE_READ(page, compound_head);

	return head & 1 ? (struct page *)(head - 1) : page;
}

/* include/linux/page-flags.h: low bits of a mapping that is not of a file. */
enum { PAGE_MAPPING_ANON = 1, PAGE_MAPPING_FLAGS = 3 };

/* The marks of an xarray are above this bit of its flags, and nothing else is. */
enum { FIRST_MARK = 20 };

static __always_inline unsigned long mapping_of(struct page *head)
{
	if (bpf_core_type_exists(struct folio))
		return (unsigned long)BPF_CORE_READ((struct folio *)head, mapping);
	return (unsigned long)BPF_CORE_READ((struct page___before_folio *)head, mapping);
}

/* Finds the file of a page. False for a page that belongs to no file: anonymous memory, a buffer of a file system or a driver. */
static __always_inline bool find_file(struct page *page, struct file_page *file)
{
	struct page *head = head_of(page);
	unsigned long mapping = mapping_of(head);
	struct inode *inode;

	if (!mapping || mapping & PAGE_MAPPING_FLAGS)
		return false;
	if (bpf_core_type_exists(struct folio))
		file->index = BPF_CORE_READ((struct folio *)head, index);
	else
		file->index = BPF_CORE_READ((struct page___before_folio *)head, index);
	file->index += ((__u64)page - (__u64)head) / bpf_core_type_size(struct page);
	inode = BPF_CORE_READ((struct address_space *)mapping, host);
	if (!inode)
		return false;
	file->inode = inode;
	file->inode_key.dev = BPF_CORE_READ(inode, i_sb, s_dev);
	file->inode_key.ino = BPF_CORE_READ(inode, i_ino);
	file->generation = BPF_CORE_READ(inode, i_generation);
	return true;
}

/* Returns the block device that this inode is. */
static __always_inline struct block_device *device_of(struct inode *inode)
{
	struct bdev_inode *container = (void *)inode - bpf_core_field_offset(struct bdev_inode, vfs_inode);

	return &container->bdev;
}

/* Returns whether a file system is mounted on the block device that this inode is. */
static __always_inline bool is_mounted(struct inode *inode)
{
	struct block_device *bdev = device_of(inode);
	struct super_block *super;

	if (bpf_core_field_exists(((struct block_device___6_5 *)bdev)->bd_super))
		return BPF_CORE_READ((struct block_device___6_5 *)bdev, bd_super);
	/* Since 6.6 the holder of a mounted device is the super block, which refers to the device in turn. */
	super = BPF_CORE_READ(bdev, bd_holder);
	return super && BPF_CORE_READ(super, s_bdev) == bdev;
}

/* Returns whether no page of the inode is dirty or under writeback. Its xarray is locked when a page becomes dirty. */
static __always_inline bool is_clean(struct inode *inode)
{
	return !(HOP(inode)->i_mapping->i_pages.xa_flags >> FIRST_MARK);
}

/* Returns one of the cached names (dentries) of an inode; NULL if it has none. */
static __always_inline struct dentry *alias_of(struct inode *inode)
{
	struct hlist_node *node = BPF_CORE_READ(inode, i_dentry.first);

	if (!node || !bpf_core_field_exists(struct dentry, d_u.d_alias))
		return 0;
	return (void *)node - bpf_core_field_offset(struct dentry, d_u.d_alias);
}

/* Returns whether the files of a file system with this magic number have no device. */
static __always_inline bool is_in_memory(unsigned long magic)
{
	switch (magic) {
	case TMPFS_MAGIC: case RAMFS_MAGIC: case HUGETLBFS_MAGIC: case SECRETMEM_MAGIC: case GUEST_MEMORY_MAGIC:
		return true;
	}
	return false;
}

static __always_inline unsigned long magic_of(struct file_page *file)
{
	/* A copy: BPF_CORE_READ would treat `file` as a kernel type. */
	struct inode *inode = file->inode;

	return BPF_CORE_READ(inode, i_sb, s_magic);
}

static __always_inline bool is_flagged_metadata(__u32 flags)
{
	return flags >> bpf_core_enum_value(enum req_flag_bits, __REQ_META) & 1;
}

static __always_inline bool is_device(struct file_page *file)
{
	struct inode *inode = file->inode;

	return (BPF_CORE_READ(inode, i_mode) & S_IFMT) == S_IFBLK;
}

/*
 * Returns whether a page is metadata: pages of a mounted device, and pages of the inode of btrfs's trees. btrfs flags
 * its super blocks as metadata.
 */
static __always_inline bool is_metadata(struct file_page *file, __u32 flags)
{
	if (is_device(file))
		return is_flagged_metadata(flags) || is_mounted(file->inode);
	return file->inode_key.ino == BTRFS_BTREE_INODE && magic_of(file) == BTRFS_SUPER_MAGIC;
}

static __always_inline struct bio_vec *first_vector(struct bio *bio)
{
	__u64 vectors = (__u64)BPF_CORE_READ(bio, bi_io_vec);

	return (struct bio_vec *)(vectors + BPF_CORE_READ(bio, bi_iter.bi_idx) * bpf_core_type_size(struct bio_vec));
}

/* Returns the page at `offset` in the memory that begins with `page`: a vector may have many pages. */
static __always_inline struct page *page_at(struct page *page, __u32 offset)
{
	return (struct page *)((__u64)page + (__u64)(offset / PAGE_BYTES) * bpf_core_type_size(struct page));
}

/* Returns the first page of what is left of a bio: the part that was split off may have taken some of the vector. */
static __always_inline struct page *first_page(struct bio *bio)
{
	struct bio_vec *vector = first_vector(bio);

	return page_at(BPF_CORE_READ(vector, bv_page), BPF_CORE_READ(vector, bv_offset) + BPF_CORE_READ(bio, bi_iter.bi_bvec_done));
}

#endif
