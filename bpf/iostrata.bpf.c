// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kernel side of iostrata. One object, so that all groups of programs share the rings, the event accounting and the
 * filters. No program is loaded by default; user space loads those of the selected layers. A new group is a file and a
 * line here.
 */
#include "kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "events.h"

#include "common.bpf.h"
#include "filter.bpf.h"
#include "sampling.bpf.h"
#include "path.bpf.h"
#include "process.bpf.h"
#include "name.bpf.h"
#include "file.bpf.h"
#include "run_queue.bpf.h"
#include "interrupted.bpf.h"
/* First, because these are the programs that kernels refuse: the others are then not loaded in vain. */
#include "vfs.bpf.h"
#include "syscall.bpf.h"
#include "still_calling.bpf.h"
#include "block.bpf.h"
#include "gather.bpf.h"
#include "fs.bpf.h"

/* Names of operations, I/O classes, evidence and path origins. User space reads them from here, so that they are written once. */
#define X(id, word) word,
const char op_names[OP_COUNT][WORD_BYTES] = { OPS(X) };
const char io_class_names[IO_CLASS_COUNT][WORD_BYTES] = { IO_CLASSES(X) };
const char evidence_names[EVIDENCE_COUNT][WORD_BYTES] = { EVIDENCES(X) };
const char path_origin_names[PATH_ORIGIN_COUNT][WORD_BYTES] = { PATH_ORIGINS(X) };
const char via_names[VIA_COUNT][WORD_BYTES] = { VIAS(X) };
const char unseen_names[UNSEEN_COUNT][WORD_BYTES] = { UNSEEN(X) };
#undef X

/* Keeps the record types in the object's BTF, where the skeleton generator finds them. */
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
	enum known_opcode known_opcode;
	struct left_out_io left_out;
	struct lower_disks lower_disks;
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
	struct sampling sampling;
	struct server server;
};
const volatile struct record_types *record_types_in_btf = 0;

/* Required by kprobes and GPL-only helpers (bpf_probe_read_kernel, ring buffers). */
char LICENSE[] SEC("license") = "GPL";
