//! Compiles the objects in `bpf/` into libbpf-rs skeletons in `OUT_DIR`. Run by the recorder's build only; the analyzer
//! needs neither clang nor libelf.
#![allow(clippy::disallowed_macros, reason = "for developers")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use libbpf_cargo::SkeletonBuilder;

/// Struct of each object that has its record types as members: bytes of these are read in Rust, or written. These and what they consist of get
/// zerocopy's derives, so that the compiler refuses one of which not any bytes are a valid value.
const RECORDS: &str = "record_types";

/// Attribute before them.
const DERIVES: &str =
    "#[derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)]\n";

fn main() -> ExitCode {
    let variable = |name: &str| env::var_os(name).map(PathBuf::from).unwrap_or_default();
    let bpf = variable("CARGO_MANIFEST_DIR").join("../../bpf");
    let out = variable("OUT_DIR");

    let mut sources = vec![bpf.join("iostrata.bpf.c")];
    println!("cargo:rerun-if-changed={}", bpf.display());
    for entry in fs::read_dir(&bpf).into_iter().flatten().flatten() {
        // A directory alone would not notice edits of the files in it.
        for file in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
            println!("cargo:rerun-if-changed={}", file.path().display());
        }
        // A folder with a source file of its name is an object of its own.
        let source = entry.path().join(entry.file_name()).with_extension("bpf.c");
        if source.is_file() {
            sources.push(source);
        }
    }

    for source in sources {
        let name = source.file_name().unwrap_or_default().to_string_lossy().replace(".bpf.c", "");
        let skeleton = out.join(format!("{name}.skel.rs"));
        let include = format!("-I{}", bpf.display());
        let built = SkeletonBuilder::new()
            .source(&source)
            .clang_args(["-Wall", "-Werror", "-D__TARGET_ARCH_x86", include.as_str()])
            .build_and_generate(&skeleton);
        if let Err(error) = built {
            eprintln!("cannot compile {}: {error:#}", source.display());
            eprintln!("the recorder needs clang 14 or newer: `make setup` installs it");
            return ExitCode::FAILURE;
        }
        if let Err(error) = derive(&skeleton) {
            eprintln!("cannot derive conversions of the records of {}: {error}", source.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Puts the derives before the members of [`RECORDS`], and before the structs that they consist of.
fn derive(skeleton: &Path) -> io::Result<()> {
    let text = fs::read_to_string(skeleton)?;
    let structs: BTreeMap<&str, &str> = text.split("pub struct ").skip(1).filter_map(named).collect();
    let mut chosen = BTreeSet::new();
    let mut left = vec![RECORDS];
    while let Some(name) = left.pop() {
        let Some(fields) = structs.get(name) else {
            return Err(io::Error::other(format!("there is no struct {name}")));
        };
        let types = fields.lines().filter_map(|field| field.split_once(": ")).map(|(_, of)| of);
        let words = types.flat_map(|of| of.split(|letter: char| !letter.is_alphanumeric() && letter != '_'));
        left.extend(words.filter(|word| structs.contains_key(word) && chosen.insert(*word)));
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
