/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Paths: names from a file up through its directories and mounts. Renames of directories during the walk are not
 * detected. The kernel's own d_path() detects them, and takes a lock for it.
 */
#ifndef IOSTRATA_PATH_H
#define IOSTRATA_PATH_H

/* Maximum number of names and mounts per walk, and maximum size of a name with its NUL. */
enum { PATH_DEPTH = 64, NAME_ROOM = 256 };

struct path_walk {
	/* Identifies the walk: a program that is interrupted by another one on its CPU finds another ticket. */
	__u64 ticket;
	struct dentry *dentry;
	/* Root of the mount; NULL: the walk ends at the root of the file system. */
	struct dentry *root;
	struct mount *mount;
	/* Current directory of a walk through cgroups. */
	struct kernfs_node *node;
	__u32 length;
	__u32 components;
	/* The walk has continued from a mount to the mount that it is mounted on. */
	__u32 left_mount;
	__u32 mount_namespace;
	/* enum path_origin */
	__u32 origin;
	__u32 reserved;
	char names[PATH_BYTES + NAME_ROOM];
};

enum walk { WALK_FILE, WALK_CGROUP, WALKS };

/* Key: enum walk; value: a walk in progress on this CPU. Written by walk_path() and walk_cgroup(). */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WALKS);
	__type(key, __u32);
	__type(value, struct path_walk);
} path_walks SEC(".maps");

static __always_inline struct path_walk *path_walk(__u32 walk)
{
	return bpf_map_lookup_elem(&path_walks, &walk);
}

/* Continues at the mount point of the mount, from the mount's root. Returns 1 if there is nothing above. */
static __always_inline int leave_mount(struct path_walk *walk)
{
	/* Copies, here and below: BPF_CORE_READ would treat the walk itself as a kernel type. */
	struct mount *mount = walk->mount, *above = BPF_CORE_READ(mount, mnt_parent);
	struct mnt_namespace *namespace;

	if (above != mount) {
		walk->dentry = BPF_CORE_READ(mount, mnt_mountpoint);
		walk->root = BPF_CORE_READ(above, mnt.mnt_root);
		walk->mount = above;
		walk->left_mount = 1;
		return 0;
	}
	namespace = BPF_CORE_READ(mount, mnt_ns);
	/* NULL after a lazy unmount, an error pointer for the kernel's own mounts. */
	if (namespace && (unsigned long)namespace < (unsigned long)-4095) {
		walk->origin = PATH_FROM_NAMESPACE;
		walk->mount_namespace = BPF_CORE_READ(namespace, ns.inum);
		return 1;
	}
	/* Not mounted anywhere: the path within the file system remains, unless the walk has left that file system. */
	walk->root = 0;
	if (walk->left_mount)
		walk->origin = PATH_FROM_NONE;
	return walk->left_mount;
}

/* Appends a name to a walk. False if there is no room for it, or no name. */
static __always_inline bool append_name(struct path_walk *walk, const void *name)
{
	__u32 at = walk->length;
	long length;

	if (at >= PATH_BYTES)
		return false;
	/* Bounds `at` again where it is used: older verifiers do not keep the bounds of a copy. */
	barrier_var(at);
	at &= PATH_BYTES - 1;
	length = bpf_probe_read_kernel_str(walk->names + at, NAME_ROOM, name);
	if (length <= 1) {
		walk->origin = PATH_FROM_NONE;
		return false;
	}
	walk->length = at + length;
	if (at + length > PATH_BYTES)
		return false;
	walk->components++;
	return true;
}

/*
 * Appends one name or leaves one mount. Returns 1 at the end of the walk. A global function with its state in a map:
 * the verifier checks it once for all steps of a walk.
 */
__noinline int walk_up(__u64 ticket)
{
	struct path_walk *walk = path_walk(WALK_FILE);
	struct dentry *dentry, *parent;

	if (!walk || walk->ticket != ticket)
		return 1;
	dentry = walk->dentry;
	if (dentry == walk->root)
		return leave_mount(walk);
	parent = BPF_CORE_READ(dentry, d_parent);
	if (dentry == parent) {
		/* Otherwise the dentry is disconnected: reached by a file handle, or moved out from below its mount. */
		bool whole = !walk->left_mount && dentry == BPF_CORE_READ(dentry, d_sb, s_root);

		walk->origin = whole ? PATH_FROM_FILESYSTEM : PATH_FROM_NONE;
		return 1;
	}
	if (!append_name(walk, BPF_CORE_READ(dentry, d_name.name)))
		return 1;
	walk->dentry = parent;
	return 0;
}

/*
 * Walks up from a file, as the process that opened it sees the path, or, without a file, from `dentry` within its file
 * system. The result is valid as long as the walk has the ticket. Returns NULL if it has lost the ticket.
 */
static __always_inline struct path_walk *walk_path(struct file *file, struct dentry *dentry, __u64 ticket)
{
	struct path_walk *walk = path_walk(WALK_FILE);

	if (!walk)
		return 0;
	walk->ticket = ticket;
	walk->dentry = dentry;
	walk->root = 0;
	walk->length = 0;
	walk->components = 0;
	walk->left_mount = 0;
	walk->mount_namespace = 0;
	walk->origin = dentry ? PATH_FROM_CUT : PATH_FROM_NONE;
	if (file) {
		struct vfsmount *mnt = BPF_CORE_READ(file, f_path.mnt);

		walk->root = BPF_CORE_READ(mnt, mnt_root);
		walk->mount = (void *)mnt - bpf_core_field_offset(struct mount, mnt);
	}
	if (dentry) {
		for (int i = 0; i < PATH_DEPTH; i++)
			if (walk_up(ticket))
				break;
	}
	return walk->ticket == ticket ? walk : 0;
}

/*
 * Copies up to `size` bytes of the names that a walk found. Returns the start of the path, which is PATH_FROM_NONE if
 * another program has taken over the walk.
 */
static __always_inline __u8 take_names(char *names, __u32 size, struct path_walk *walk, __u64 ticket)
{
	bpf_probe_read_kernel(names, size, walk->names);
	return walk->ticket == ticket ? walk->origin : PATH_FROM_NONE;
}

static __always_inline __u8 take_path(char path[PATH_BYTES], struct path_walk *walk, __u64 ticket)
{
	return take_names(path, PATH_BYTES, walk, ticket);
}

/* Returns a different ticket for each walk. */
static __always_inline __u64 path_ticket(void)
{
	return bpf_ktime_get_ns() << 16 ^ bpf_get_current_pid_tgid();
}

#endif
