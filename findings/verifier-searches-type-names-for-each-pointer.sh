#!/bin/sh
# Version: Linux 6.18.44 (x86-64), clang 14.0.6, bpftool 7.1.0 (Debian 12). By the source: since 6.3.
#
# Behaviour: loading a pointer through one that the verifier trusts (an argument of a tp_btf program, the current task) makes it look through the names of all
# types of the kernel, one after the other, for `TYPE__safe_rcu` and its like. A program of 400 such loads takes many times as long to load as the same
# program whose pointer went through bpf_rdonly_cast() before, though both have as many instructions for the verifier to look at.
#
# Expected: what a load costs to verify follows from the number of states and instructions, not from the size of the kernel's BTF.
#
# Seen: 400 loads of task->group_leader: 301 ms trusted, 15 ms cast
#
# Why: kernel/bpf/verifier.c, check_ptr_to_btf_access() asks type_is_trusted(), type_is_rcu() and others, each of which is btf_nested_type_is_trusted() in
# kernel/bpf/btf.c with a btf_find_by_name_kind(), a search through the whole BTF that compares strings. Untrusted pointers are let off before.
#
# Needs: root, clang, bpftool, a kernel with BTF and bpf_rdonly_cast() (6.2), the BPF file system at /sys/fs/bpf.
set -eu

tmp=$(mktemp -d)
pin=/sys/fs/bpf/finding-$$
cleanup() {
    rm -f "$pin"
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 2' INT TERM

cat >"$tmp/program.c" <<'END'
#define SEC(name) __attribute__((section(name), used))
#define CORE __attribute__((preserve_access_index))

struct task_struct {
	struct task_struct *group_leader;
} CORE;

static struct task_struct *(*const current_task)(void) = (void *)158; /* bpf_get_current_task_btf() */
extern void *bpf_rdonly_cast(const void *object, unsigned int type) SEC(".ksyms");
char LICENSE[] SEC("license") = "GPL";

#define LOAD asm volatile("" : "+r"(task)); asm volatile("" : : "r"(task->group_leader));
#define LOADS LOAD LOAD LOAD LOAD LOAD LOAD LOAD LOAD LOAD LOAD LOAD LOAD LOAD LOAD LOAD LOAD LOAD LOAD LOAD LOAD

SEC("tp_btf/sched_process_exit") int program(void *context)
{
	struct task_struct *task = current_task();

#ifdef CAST
	task = bpf_rdonly_cast(task, __builtin_btf_type_id(*task, 1));
#endif
	LOADS LOADS LOADS LOADS LOADS LOADS LOADS LOADS LOADS LOADS
	LOADS LOADS LOADS LOADS LOADS LOADS LOADS LOADS LOADS LOADS
	return 0;
}
END
compile() {
    clang -g -O2 -target bpf "$@" -c "$tmp/program.c" -o "$tmp/program$1.o" || exit 2
}
compile -DTRUSTED
compile -DCAST

# The shortest of five: what else the machine does only makes it longer.
load_ms() {
    least=
    for _ in 1 2 3 4 5; do
        began=$(date +%s%N)
        bpftool prog load "$tmp/program$1.o" "$pin" >"$tmp/said" 2>&1 || { cat "$tmp/said" >&2; exit 2; }
        took=$(($(date +%s%N) - began))
        rm "$pin"
        [ -n "$least" ] && [ "$least" -le "$took" ] || least=$took
    done
    echo "$least"
}
trusted=$(load_ms -DTRUSTED)
cast=$(load_ms -DCAST)
echo "400 loads of task->group_leader: $((trusted / 1000000)) ms trusted, $((cast / 1000000)) ms cast"
[ "$trusted" -gt "$((cast * 2))" ]
