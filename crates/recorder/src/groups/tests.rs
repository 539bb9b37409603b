//! Tests with a kernel that has every feature, then one feature less in each case.

use std::collections::HashMap;

use super::block::request_flag_bits;
use super::syscall::{opcode_name, unknown_opcodes};
use super::*;

pub(crate) struct Host {
    tracepoints: HashMap<&'static str, usize>,
    functions: Vec<&'static str>,
    structs: Vec<&'static str>,
    kprobes: bool,
    enums: HashMap<&'static str, i64>,
    modules: Vec<&'static str>,
}

impl Host {
    pub(crate) fn complete() -> Self {
        let tracepoints = [
            ("sys_enter", 2),
            ("sys_exit", 2),
            ("sched_process_fork", 2),
            ("sched_process_free", 1),
            ("sched_process_exit", 2),
            ("sched_process_exec", 3),
            ("sched_switch", 4),
            ("sched_wakeup", 1),
            ("writeback_dirty_folio", 2),
            ("mm_filemap_add_to_page_cache", 1),
            ("writeback_single_inode_start", 3),
            ("writeback_single_inode", 3),
            ("block_bio_queue", 1),
            ("block_split", 2),
            ("block_rq_insert", 1),
            ("block_rq_issue", 1),
            ("block_rq_requeue", 1),
            ("block_rq_merge", 1),
            ("block_bio_remap", 3),
            ("block_bio_complete", 2),
            ("block_rq_complete", 3),
        ];
        let functions = vec![
            "vfs_read",
            "vfs_write",
            "vfs_readv",
            "vfs_writev",
            "vfs_iter_read",
            "vfs_iter_write",
            "vfs_fsync_range",
        ];
        let enums = [("BPF_FUNC_task_pt_regs", 175)].into();
        Host {
            tracepoints: tracepoints.into(),
            functions,
            structs: vec!["bpf_tramp_image"],
            kprobes: true,
            enums,
            modules: Vec::new(),
        }
    }
}

impl KernelFacts for Host {
    fn tracepoint_arguments(&self, name: &str) -> Option<usize> {
        self.tracepoints.get(name).copied()
    }
    fn module_has_tracepoint(&self, module: &str, name: &str) -> bool {
        self.modules.contains(&module) && matches!(name, "xfs_file_fsync" | "xfs_file_buffered_write")
    }
    fn has_module(&self, module: &str) -> bool {
        self.modules.contains(&module)
    }
    fn has_function(&self, name: &str) -> bool {
        self.functions.contains(&name)
    }
    fn has_struct(&self, name: &str) -> bool {
        self.structs.contains(&name)
    }
    fn has_kprobes(&self) -> bool {
        self.kprobes
    }
    fn enum_value(&self, name: &str) -> Option<i64> {
        self.enums.get(name).copied()
    }
    fn enum_members(&self, name: &str) -> Vec<(String, i64)> {
        let prefix = if name == "io_uring_op" { "IORING_OP_" } else { "no other enum is queried" };
        let members = self.enums.iter().filter(|(member, _)| member.starts_with(prefix));
        members.map(|(member, value)| ((*member).to_owned(), *value)).collect()
    }
}

/// What follows from the choice of these programs.
fn configured(group: &RecordGroup, programs: &[String]) -> types::config {
    let mut config = types::config::default();
    (group.configure)(&mut config, &programs.iter().map(String::as_str).collect::<Vec<_>>());
    config
}

fn syscall(host: &Host) -> Variant {
    (syscall::GROUP.variants)(host).expect("everything is there").remove(0)
}

fn has(variant: &Variant, program: &str) -> bool {
    variant.programs.iter().any(|one| one == program)
}

#[test]
fn io_uring_is_captured_where_its_tracepoints_tell_the_request() {
    let mut host = Host::complete();
    assert_eq!(syscall(&host).without, ["io_uring"]);
    // 5.10: the ring, and each member of the submission as an argument.
    host.tracepoints.extend([("io_uring_submit_sqe", 5), ("io_uring_complete", 3)]);
    assert_eq!(syscall(&host).without, ["io_uring"]);
    // 6.1.
    host.tracepoints.extend([("io_uring_submit_sqe", 2), ("io_uring_complete", 7)]);
    assert_eq!(syscall(&host).without, ["io_uring"], "unseen completions would be matched to other requests");
    host.tracepoints.extend([("io_uring_req_failed", 4), ("io_uring_cqe_overflow", 5)]);
    let old = syscall(&host);
    assert!(old.without.is_empty());
    assert!(has(&old, "iostrata_io_uring_submit_sqe") && has(&old, "iostrata_io_uring_complete_apart"));
    assert!(has(&old, "iostrata_io_uring_req_failed_ring") && has(&old, "iostrata_io_uring_cqe_overflow"));
    // 6.18.
    host.tracepoints.remove("io_uring_submit_sqe");
    host.tracepoints.extend([("io_uring_submit_req", 1), ("io_uring_complete", 3), ("io_uring_req_failed", 3)]);
    let new = syscall(&host);
    assert!(has(&new, "iostrata_io_uring_submit_req") && has(&new, "iostrata_io_uring_complete"));
    assert!(has(&new, "iostrata_io_uring_req_failed"));
}

#[test]
fn operations_of_io_uring_that_are_newer_than_the_recorder_are_named() {
    let mut host = Host::complete();
    host.enums.extend([
        ("IORING_OP_WRITE", 23),
        ("IORING_OP_PIPE", 62),
        ("IORING_OP_NEWER", 63),
        ("IORING_OP_LAST", 64),
    ]);
    assert_eq!(unknown_opcodes(&host), ["IORING_OP_NEWER"]);
    assert_eq!([23, 200].map(|opcode| opcode_name(&host, opcode)), ["IORING_OP_WRITE", "operation 200"]);
}

fn block(host: &Host) -> Result<Vec<String>, String> {
    (block::GROUP.variants)(host).map(|mut variants| variants.remove(0).programs)
}

#[test]
fn completion_is_attached_last() {
    let programs = block(&Host::complete()).expect("everything is there");
    assert_eq!(programs.len(), 10);
    assert_eq!(programs.last().map(String::as_str), Some("iostrata_block_rq_complete"));
}

#[test]
fn tracepoints_that_have_the_queue_in_front_get_the_program_that_expects_it() {
    let mut host = Host::complete();
    host.tracepoints.insert("block_rq_insert", 2);
    host.tracepoints.insert("block_split", 3);
    let programs = block(&host).expect("everything is there");
    assert!(programs.contains(&"iostrata_block_rq_insert_q".to_owned()));
    assert!(programs.contains(&"iostrata_block_split_q".to_owned()));
    // 5.10.137 dropped it from issue alone.
    assert!(programs.contains(&"iostrata_block_rq_issue".to_owned()));
}

#[test]
fn a_kernel_without_the_merge_tracepoint_can_do_without() {
    let mut host = Host::complete();
    host.tracepoints.remove("block_rq_merge");
    assert_eq!(block(&host).expect("the rest is there").len(), 9);
}

#[test]
fn before_folios_pages_turned_dirty() {
    let mut host = Host::complete();
    host.tracepoints.remove("writeback_dirty_folio");
    assert!(block(&host).is_err());
    host.tracepoints.insert("writeback_dirty_page", 2);
    assert_eq!(block(&host).expect("the rest is there")[0], "iostrata_dirty_page");
}

#[test]
fn writes_are_told_by_the_kernel_or_a_module_or_said_not_to_be() {
    let mut host = Host::complete();
    let variants = |host: &Host| (block::GROUP.variants)(host).expect("everything is there");
    assert_eq!((variants(&host).len(), variants(&host)[0].without.len()), (1, 0));
    host.modules = vec!["ext4", "xfs"];
    let [all, own] = &variants(&host)[..] else { panic!("two ways") };
    assert!(has(all, "iostrata_xfs_buffered_write") && !has(own, "iostrata_xfs_buffered_write"));
    assert_eq!(
        (&all.without[..], &own.without[..]),
        (&["writes of ext4"][..], &["writes of ext4", "writes of xfs"][..])
    );
    // 5.10: other arguments.
    host.modules.clear();
    let writes = ["ext4_da_write_end", "ext4_write_end", "ext4_journalled_write_end"].map(|name| (name, 4));
    host.tracepoints.extend(writes.into_iter().chain([("xfs_file_buffered_write", 3)]));
    let told = variants(&host).remove(0).programs;
    assert!(told[1].contains("ext4") && !told.iter().any(|program| program.contains("xfs")), "{told:?}");
    assert_eq!(configured(&block::GROUP, &told).told_writes, 1);
    host.tracepoints.insert("xfs_file_buffered_write", 2);
    assert_eq!(configured(&block::GROUP, &variants(&host).remove(0).programs).told_writes, 3);
}

#[test]
fn a_file_system_tells_what_it_has_a_tracepoint_for() {
    let mut host = Host::complete();
    let fs = |host: &Host| (fs::GROUP.variants)(host).expect("everything is there").remove(0);
    assert_eq!((fs(&host).programs.len(), fs(&host).without.len()), (5, 0));
    host.modules = vec!["xfs", "btrfs"];
    assert!(has(&fs(&host), "iostrata_xfs_file_fsync"));
    assert_eq!(fs(&host).without, ["btrfs"]);
    host.enums.clear();
    assert_eq!(fs(&host).without, ["mappings", "btrfs"]);
    host.tracepoints.insert("jbd2_run_stats", 3);
    assert!(has(&fs(&host), "iostrata_jbd2_run_stats"));
}

#[test]
fn a_kernel_without_the_issue_tracepoint_has_no_block_layer() {
    let mut host = Host::complete();
    host.tracepoints.remove("block_rq_issue");
    assert_eq!(block(&host), Err("the kernel has no tracepoint block_rq_issue".to_owned()));
}

#[test]
fn the_vfs_layer_falls_back_to_kprobes_and_then_says_why_not() {
    let mut host = Host::complete();
    let mut tried = Vec::new();
    let chosen = choose(&vfs::GROUP, &host, &mut |variant| {
        tried.push(variant.how);
        if variant.how == "kprobe/kretprobe" { Ok(()) } else { Err("refused".into()) }
    });
    assert_eq!(tried, ["fentry/fexit", "kprobe/fexit", "kprobe/kretprobe"]);
    let chosen = chosen.expect("kprobes work");
    assert_eq!(chosen.programs.len(), 16);
    assert_eq!(configured(&vfs::GROUP, &chosen.programs).misses_returns, 1);
    let none = choose(&vfs::GROUP, &host, &mut |_| Err("refused".into()));
    assert_eq!(none, Err("fentry/fexit: refused; kprobe/fexit: refused; kprobe/kretprobe: refused".to_owned()));
    host.kprobes = false;
    let none = choose(&vfs::GROUP, &host, &mut |_| Err("refused".into()));
    let no_kprobes = "kprobe/fexit: the kernel has no kprobes; kprobe/kretprobe: the kernel has no kprobes";
    assert_eq!(none, Err(format!("fentry/fexit: refused; {no_kprobes}")));
}

#[test]
fn what_may_be_freed_under_a_sleeper_is_not_used() {
    let mut host = Host::complete();
    let tried = |host: &Host| choose(&vfs::GROUP, host, &mut |_| Ok(())).expect("one works").how;
    assert_eq!(tried(&host), "fentry/fexit");
    host.structs.clear();
    assert_eq!(tried(&host), "kprobe/kretprobe");
}

#[test]
fn the_run_queue_is_told_by_two_tracepoints_and_needs_both() {
    let mut host = Host::complete();
    let programs = (run_queue::GROUP.variants)(&host).expect("both are there").remove(0).programs;
    assert_eq!(programs.len(), 2);
    for group in RECORD_GROUPS.iter().filter(|group| group.name != "run_queue") {
        let variants = (group.variants)(&host).expect("everything is there");
        assert!(!variants.iter().flat_map(|variant| &variant.programs).any(|program| programs.contains(program)));
    }
    host.tracepoints.remove("sched_wakeup");
    assert_eq!((run_queue::GROUP.variants)(&host), Err("the kernel has no tracepoint sched_wakeup".to_owned()));
}

#[test]
fn a_vfs_function_that_the_kernel_inlined_is_left_out() {
    let mut host = Host::complete();
    host.functions.retain(|name| *name != "vfs_readv");
    let variants = (vfs::GROUP.variants)(&host).expect("the rest is there");
    assert_eq!(variants[0].programs.len(), 14);
    host.functions.retain(|name| *name != "vfs_read");
    assert_eq!((vfs::GROUP.variants)(&host), Err("the kernel has no function vfs_read".to_owned()));
}

#[test]
fn request_flags_come_from_the_enum_and_else_from_the_macros() {
    let mut host = Host::complete();
    assert_eq!(request_flag_bits(&host), (4, 13));
    host.enums = [("__RQF_FLUSH_SEQ", 1), ("__RQF_IO_STAT", 8)].into();
    assert_eq!(request_flag_bits(&host), (1, 8));
}

/// A map has one folder of `bpf/` that may access it: the others call functions.
#[test]
fn the_maps_of_a_group_are_its_own() {
    let bpf = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bpf");
    let files =
        |folder: &std::path::Path| std::fs::read_dir(folder).expect("there").map(|entry| entry.expect("there").path());
    let mut folders: Vec<(String, String)> = Vec::new();
    for folder in files(bpf.as_ref()).filter(|path| path.is_dir()) {
        let texts = files(&folder).filter(|path| path.extension().is_some_and(|name| name == "h" || name == "c"));
        let text = texts.map(|path| std::fs::read_to_string(path).expect("a text")).collect();
        folders.push((folder.file_name().expect("a name").to_string_lossy().into_owned(), text));
    }
    let (mut count, mut shared) = (0, Vec::new());
    for (owner, text) in &folders {
        for (map, _) in text.split("\n} ").skip(1).filter_map(|rest| rest.split_once(" SEC(\".maps\")")) {
            count += 1;
            let access = format!("&{map},");
            let others = folders.iter().filter(|(folder, text)| folder != owner && text.contains(&access));
            shared.extend(others.map(|(folder, _)| format!("{map} of {owner} in {folder}")));
        }
    }
    assert!(shared.is_empty(), "{shared:?}");
    assert!(count > 30, "{count} maps");
}
