/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Paths of cgroups. */
#ifndef IOSTRATA_CGROUP_PATH_H
#define IOSTRATA_CGROUP_PATH_H

#include "core/path.bpf.h"

static __always_inline struct kernfs_node *node_above(struct kernfs_node *node)
{
	struct kernfs_node___since_6_15 *renamed = (struct kernfs_node___since_6_15 *)node;

	if (bpf_core_field_exists(node->parent))
		return BPF_CORE_READ(node, parent);
	return BPF_CORE_READ(renamed, __parent);
}

/* Like walk_up(), through the directories of cgroups. */
__noinline int walk_cgroup_up(__u64 ticket)
{
	struct path_walk *walk = path_walk(WALK_CGROUP);
	struct kernfs_node *node, *above;
	__u64 id;

	if (!walk || walk->ticket != ticket)
		return 1;
	node = walk->node;
	above = node_above(node);
	id = BPF_CORE_READ(node, id);
	if (!above || id == config.cgroup_root) {
		/* A cgroup elsewhere has no path in the recorder's view. */
		walk->origin = id == config.cgroup_root || !config.cgroup_root ? PATH_FROM_FILESYSTEM : PATH_FROM_NONE;
		return 1;
	}
	if (!append_name(walk, BPF_CORE_READ(node, name)))
		return 1;
	walk->node = above;
	return 0;
}

/* Like walk_path(), from a cgroup's directory up to the root of the recorder's cgroup mount. */
static __always_inline struct path_walk *walk_cgroup(struct kernfs_node *node, __u64 ticket)
{
	struct path_walk *walk = path_walk(WALK_CGROUP);

	if (!walk || !node)
		return 0;
	walk->ticket = ticket;
	walk->node = node;
	walk->length = 0;
	walk->components = 0;
	walk->origin = PATH_FROM_CUT;
	for (int i = 0; i < PATH_DEPTH; i++)
		if (walk_cgroup_up(ticket))
			break;
	return walk->ticket == ticket ? walk : 0;
}

#endif
