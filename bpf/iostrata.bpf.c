// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kernel side of iostrata. One object, so that all groups of programs share the rings, the event accounting and the
 * filters. No program is loaded by default; user space loads those of the selected layers. Each group is a folder; only
 * its own files access its maps. Groups that need none of this are objects of their own.
 */
#include "core/kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "core/events.h"

#include "core/common.bpf.h"
#include "core/filter.bpf.h"
#include "core/sampling.bpf.h"
#include "core/path.bpf.h"
#include "core/cgroup_path.bpf.h"
#include "process/process.bpf.h"
#include "core/name.bpf.h"
#include "core/file.bpf.h"
#include "syscall/run_queue.bpf.h"
#include "syscall/interrupted.bpf.h"
/* First, because these are the programs that kernels refuse: the others are then not loaded in vain. */
#include "vfs/vfs.bpf.h"
#include "syscall/syscall.bpf.h"
#include "syscall/still_calling.bpf.h"
#include "block/block.bpf.h"
#include "fs/gather.bpf.h"
#include "fs/fs.bpf.h"

/* Names of operations, I/O classes, evidence and path origins. User space reads them from here, so that they are written once. */
#define X(id, word) word,
const char op_names[OP_COUNT][WORD_BYTES] = { OPS(X) };
const char io_class_names[IO_CLASS_COUNT][WORD_BYTES] = { IO_CLASSES(X) };
const char evidence_names[EVIDENCE_COUNT][WORD_BYTES] = { EVIDENCES(X) };
const char path_origin_names[PATH_ORIGIN_COUNT][WORD_BYTES] = { PATH_ORIGINS(X) };
const char via_names[VIA_COUNT][WORD_BYTES] = { VIAS(X) };
const char unseen_names[UNSEEN_COUNT][WORD_BYTES] = { UNSEEN(X) };
#undef X

/*
 * Keeps the record types in the object's BTF, where the skeleton generator finds them. The build gives each of these
 * structs, and what it consists of, conversions from and to bytes.
 */
struct record_types {
	struct file_event file;
	struct call_event call;
	struct block_event_parts block;
	struct fs_slot fs;
	struct process_event_short process_short;
	struct process_event_long process_long;
	struct name_event name;
	struct account account;
	struct own_io own;
	struct unseen_calls unseen_calls;
	struct left_out_io left_out;
	struct lower_disks lower_disks;
	struct sampling sampling;
	struct server server;
	struct inflight_request inflight_request;
	struct request_bucket request_bucket;
	struct queued_bucket queued_bucket;
	struct part_list part_list;
	struct file_op file_op;
	struct async_bucket async_bucket;
	enum known_opcode known_opcode;
	enum device_use device_use;
	enum fd_kind fd_kind;
	enum request_flag request_flag;
	enum op op;
	enum event_class event_class;
	enum maker maker;
	enum phase phase;
	enum io_class io_class;
	enum timing timing;
	enum giving giving;
	enum told_writes told_writes;
};
const volatile struct record_types *record_types_in_btf = 0;

/* Required by kprobes and GPL-only helpers (bpf_probe_read_kernel, ring buffers). */
char LICENSE[] SEC("license") = "GPL";
