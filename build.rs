//! Compiles `bpf/iostrata.bpf.c` into a libbpf-rs skeleton in `OUT_DIR`. Run by the recorder's build only; the analyzer
//! needs neither clang nor libelf.

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

use libbpf_cargo::SkeletonBuilder;

fn main() -> ExitCode {
    let variable = |name: &str| env::var_os(name).map(PathBuf::from).unwrap_or_default();
    let bpf = variable("CARGO_MANIFEST_DIR").join("../../bpf");
    let skeleton = variable("OUT_DIR").join("iostrata.skel.rs");

    // A directory alone would not notice edits of the files in it.
    println!("cargo:rerun-if-changed={}", bpf.display());
    for entry in fs::read_dir(&bpf).into_iter().flatten().flatten() {
        println!("cargo:rerun-if-changed={}", entry.path().display());
    }

    let built = SkeletonBuilder::new()
        .source(bpf.join("iostrata.bpf.c"))
        .clang_args(["-Wall", "-Werror", "-D__TARGET_ARCH_x86"])
        .build_and_generate(&skeleton);
    match built {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot compile bpf/iostrata.bpf.c: {error:#}");
            eprintln!("the recorder needs clang 14 or newer: `make setup` installs it");
            ExitCode::FAILURE
        }
    }
}
