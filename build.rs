//! Compiles the objects in `bpf/` into libbpf-rs skeletons in `OUT_DIR`. Run by the recorder's build only; the analyzer
//! needs neither clang nor libelf.
#![allow(clippy::disallowed_macros, reason = "for developers")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use libbpf_cargo::SkeletonBuilder;

/// By object: the C structs of which bytes are read in Rust, or written. These and what they consist of get zerocopy's derives, so that the compiler
/// refuses one of which not any bytes are a valid value.
const RECORDS: [(&str, &[&str]); 2] = [
    (
        "iostrata",
        &[
            "event_head",
            "file_event",
            "call_event",
            "block_event",
            "block_event_submitted",
            "block_event_parts",
            "process_event_short",
            "process_event_long",
            "name_event",
            "fs_event",
            "fs_slot",
            "account",
            "own_io",
            "inflight_request",
            "request_bucket",
            "queued_bucket",
            "part_list",
            "sampling",
            "unseen_calls",
            "file_op",
            "async_bucket",
            "server",
            "left_out_io",
            "lower_disks",
        ],
    ),
    ("here", &["here", "task_record", "task_io"]),
];

/// What stands before them.
const DERIVES: &str =
    "#[derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)]\n";

fn main() -> ExitCode {
    let variable = |name: &str| env::var_os(name).map(PathBuf::from).unwrap_or_default();
    let bpf = variable("CARGO_MANIFEST_DIR").join("../../bpf");
    let out = variable("OUT_DIR");

    // A directory alone would not notice edits of the files in it.
    println!("cargo:rerun-if-changed={}", bpf.display());
    for entry in fs::read_dir(&bpf).into_iter().flatten().flatten() {
        println!("cargo:rerun-if-changed={}", entry.path().display());
    }

    for (object, records) in RECORDS {
        let skeleton = out.join(format!("{object}.skel.rs"));
        let built = SkeletonBuilder::new()
            .source(bpf.join(format!("{object}.bpf.c")))
            .clang_args(["-Wall", "-Werror", "-D__TARGET_ARCH_x86"])
            .build_and_generate(&skeleton);
        if let Err(error) = built {
            eprintln!("cannot compile bpf/{object}.bpf.c: {error:#}");
            eprintln!("the recorder needs clang 14 or newer: `make setup` installs it");
            return ExitCode::FAILURE;
        }
        if let Err(error) = derive(&skeleton, records) {
            eprintln!("cannot give the records of bpf/{object}.bpf.c their derives: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Puts the derives before `records`, and before the structs that they consist of.
fn derive(skeleton: &Path, records: &[&str]) -> io::Result<()> {
    let text = fs::read_to_string(skeleton)?;
    let structs: BTreeMap<&str, &str> = text.split("pub struct ").skip(1).filter_map(named).collect();
    let mut chosen = BTreeSet::new();
    let mut left = records.to_vec();
    while let Some(name) = left.pop() {
        let Some(fields) = structs.get(name) else {
            return Err(io::Error::other(format!("there is no struct {name}")));
        };
        if chosen.insert(name) {
            let types = fields.lines().filter_map(|field| field.split_once(": ")).map(|(_, of)| of);
            let words = types.flat_map(|of| of.split(|letter: char| !letter.is_alphanumeric() && letter != '_'));
            left.extend(words.filter(|word| structs.contains_key(word)));
        }
    }
    let mut derived = String::with_capacity(text.len() + chosen.len() * DERIVES.len());
    for line in text.split_inclusive('\n') {
        let name = line.trim_start().strip_prefix("pub struct ").and_then(|rest| rest.split_whitespace().next());
        if name.is_some_and(|name| chosen.contains(name)) {
            derived.push_str(DERIVES);
        }
        derived.push_str(line);
    }
    fs::write(skeleton, derived)
}

/// The name of a struct, and its fields.
fn named(declared: &str) -> Option<(&str, &str)> {
    let (name, rest) = declared.split_once(" {")?;
    Some((name, rest.split_once('}')?.0))
}
