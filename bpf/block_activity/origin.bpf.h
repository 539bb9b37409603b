/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owner, class and file of a bio, in the context of its submitter. As `owner/origin.bpf.h`, but by file and not by page. */
#ifndef IOSTRATA_ACTIVE_ORIGIN_H
#define IOSTRATA_ACTIVE_ORIGIN_H

const volatile struct makers makers = {};

/* Key: file; value: its name. Written when it is first seen. LRU: an evicted one is written again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct file_key);
	__type(value, struct file_name);
} file_names SEC(".maps");

/* Key: 0; value: a name that is being written on this CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct file_name);
} new_names SEC(".maps");

/* Stores the name of a file, by the address of its inode. A global function: the verifier checks it once. */
__noinline int name_file(__u64 inode_address)
{
	struct inode *inode = (struct inode *)inode_address;
	struct dentry *dentry = alias_of(inode);
	__u64 ticket = path_ticket();
	struct path_walk *walk = walk_path(0, dentry, ticket);
	struct file_key key = {};
	struct file_name *name;
	__u32 zero = 0;

	key.ino = BPF_CORE_READ(inode, i_ino);
	key.dev = BPF_CORE_READ(inode, i_sb, s_dev);
	key.generation = BPF_CORE_READ(inode, i_generation);

	name = bpf_map_lookup_elem(&new_names, &zero);
	if (!walk || !name)
		return 0;
	name->components = walk->components;
	name->origin = take_path(name->path, walk, ticket);
	/* Without room an earlier one is evicted. A file without a name is shown by its inode number. */
	bpf_map_update_elem(&file_names, &key, name, BPF_ANY);
	return 0;
}

/* Fills in a file by its inode, which may be the address of one. */
static __always_inline void of_file(struct request_owner *owner, struct inode *inode)
{
	struct file_key key = {};
	__u16 mode;

	if (bpf_ksym_exists(bpf_rdonly_cast)) {
		struct inode *typed = bpf_rdonly_cast(inode, bpf_core_type_id_kernel(struct inode));

		mode = typed->i_mode;
		key.ino = typed->i_ino;
		key.dev = typed->i_sb->s_dev;
		key.generation = typed->i_generation;
	} else {
		mode = BPF_CORE_READ(inode, i_mode);
		key.ino = BPF_CORE_READ(inode, i_ino);
		key.dev = BPF_CORE_READ(inode, i_sb, s_dev);
		key.generation = BPF_CORE_READ(inode, i_generation);
	}
	if ((mode & S_IFMT) != S_IFREG)
		return;
	owner->ino = key.ino;
	owner->file_dev = key.dev;
	owner->generation = key.generation;
	if (!bpf_map_lookup_elem(&file_names, &key))
		name_file(address_of(inode));
}

/* Fills in the file of direct I/O if the object that the bio belongs to names it: its pages are memory of a process. */
static __always_inline void of_direct(struct request_owner *owner, struct bio *bio, __u8 maker)
{
	struct inode *inode = 0;

	if (!tells_apart(DETAIL_FILES))
		return;
	if (maker == MAKER_DIRECT_IOMAP && bpf_ksym_exists(bpf_rdonly_cast)) {
		struct iomap_dio *dio = bpf_rdonly_cast(bio->bi_private, bpf_core_type_id_kernel(struct iomap_dio));

		of_file(owner, dio->iocb->ki_filp->f_inode);
		return;
	}
	if (maker == MAKER_DIRECT_IOMAP)
		inode = BPF_CORE_READ((struct iomap_dio *)bio->bi_private, iocb, ki_filp, f_inode);
	else if (maker == MAKER_DIRECT_DIO)
		inode = BPF_CORE_READ((struct dio *)bio->bi_private, inode);
	if (inode)
		of_file(owner, inode);
}

/* Fills in the current process. */
static __always_inline void by_current(struct origin_of *of, __u64 now_ns)
{
	find_current(&of->owner.start_ns, &of->owner.pid);
	of->kind = OWNER_PROCESS;
	of->is_selected = current_is_selected();
	if (of->is_selected)
		meet_current(of->owner.start_ns, of->owner.pid, now_ns);
}

/* Fills in the process that changed the pages of a file or of a device which are written back. */
static __always_inline void by_writer(struct origin_of *of, struct bio *bio, __u32 flags)
{
	struct file_page file = {};
	struct writer *writer;

	/* First, because buffers of a file system may lie in memory that looks like pages of a file. */
	if (is_flagged_metadata(flags)) {
		of->io_class = IO_METADATA;
		return;
	}
	if (!find_file(first_page(bio), &file))
		return;
	if (is_metadata(&file, flags)) {
		of->io_class = IO_METADATA;
		return;
	}
	if (tells_apart(DETAIL_FILES))
		of_file(&of->owner, file.inode);
	writer = writer_of(&file);
	if (!writer)
		return;
	if (writer->pid) {
		of->owner.pid = writer->pid;
		of->owner.start_ns = writer->start_ns;
		of->kind = OWNER_PROCESS;
		of->is_selected = writer->is_selected;
	} else if (writer->is_shared) {
		of->kind = OWNER_SEVERAL;
	}
}

/* Fills in the file of a read into the page cache. Memory without a device is that of direct I/O. */
static __always_inline void reads_file(struct request_owner *owner, struct bio *bio)
{
	struct file_page file = {};

	if (tells_apart(DETAIL_FILES) && find_file(first_page(bio), &file) && !is_metadata(&file, 0) && !is_in_memory(magic_of(&file)))
		of_file(owner, file.inode);
}

/* Finds class, file and writer of a bio that writes pages. Returns whether its data are the submitter's own. */
static __always_inline bool find_written(struct bio *bio, struct origin_of *of, __u8 maker, bool kernel_thread)
{
	__u32 flags = bio->bi_opf;
	char comm[COMM_BYTES] = {};

	if (is_swap(flags, maker)) {
		of->io_class = IO_SWAP;
		return false;
	}
	if (maker == MAKER_UNKNOWN && !kernel_thread && is_user_memory(&makers, bio))
		maker = MAKER_DIRECT;
	if (maker == MAKER_JOURNAL || (maker == MAKER_BUFFERS && is_journal_buffer(&makers, bio)))
		of->io_class = IO_JOURNAL;
	else if (maker == MAKER_METADATA)
		of->io_class = IO_METADATA;
	else if (is_direct(maker))
		of_direct(&of->owner, bio, maker);
	else
		by_writer(of, bio, flags);
	if (!kernel_thread)
		return is_direct(maker);
	bpf_get_current_comm(comm, sizeof(comm));
	of->io_class = class_by_thread(of->io_class, comm);
	return false;
}

/* Finds class, owner and file of a bio. */
static __always_inline void find_origin(struct bio *bio, struct origin_of *of, __u64 now_ns)
{
	__u32 op = bio->bi_opf & REQ_OP_MASK;
	bool kernel_thread, is_own = true;
	__u8 maker;

	of->io_class = IO_DATA;
	of->is_selected = !filters_owners();
	if (of->is_selected && !tells_apart(DETAIL_OWNERS))
		return;
	kernel_thread = current_is_kernel_thread();
	maker = maker_of(&makers, bio);
	if (op == REQ_OP_DISCARD || op == REQ_OP_SECURE_ERASE) {
		of->io_class = IO_DISCARD;
	} else if (op == REQ_OP_READ) {
		of->io_class = class_of_read(bio->bi_opf, maker);
		if (is_direct(maker))
			of_direct(&of->owner, bio, maker);
		else if (of->io_class != IO_METADATA)
			reads_file(&of->owner, bio);
	} else if (op != REQ_OP_WRITE_ZEROES && bio->bi_iter.bi_size) {
		is_own = find_written(bio, of, maker, kernel_thread);
	} else if (op != REQ_OP_WRITE_ZEROES) {
		of->io_class = IO_FLUSH;
	}
	if (is_own && !kernel_thread)
		by_current(of, now_ns);
}

#endif
