//! Compiles the objects in `bpf/` into libbpf-rs skeletons in `OUT_DIR`. Run by the recorder's build only; the analyzer
//! needs neither clang nor libelf.

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

use libbpf_cargo::SkeletonBuilder;

fn main() -> ExitCode {
    let variable = |name: &str| env::var_os(name).map(PathBuf::from).unwrap_or_default();
    let bpf = variable("CARGO_MANIFEST_DIR").join("../../bpf");
    let out = variable("OUT_DIR");

    // A directory alone would not notice edits of the files in it.
    println!("cargo:rerun-if-changed={}", bpf.display());
    for entry in fs::read_dir(&bpf).into_iter().flatten().flatten() {
        println!("cargo:rerun-if-changed={}", entry.path().display());
    }

    for object in ["iostrata", "here"] {
        let built = SkeletonBuilder::new()
            .source(bpf.join(format!("{object}.bpf.c")))
            .clang_args(["-Wall", "-Werror", "-D__TARGET_ARCH_x86"])
            .build_and_generate(out.join(format!("{object}.skel.rs")));
        if let Err(error) = built {
            eprintln!("cannot compile bpf/{object}.bpf.c: {error:#}");
            eprintln!("the recorder needs clang 14 or newer: `make setup` installs it");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
