//! Names that the BPF programs have for the numeric codes in their records.

use std::mem::MaybeUninit;

use anyhow::{Context, Result, anyhow};
use iostrata_capture::without_row::UnseenKind;
use libbpf_rs::skel::SkelBuilder;

use crate::bpf::IostrataSkelBuilder;

/// Names in `bpf/core/events.h`, each list in the order of its codes.
pub struct Words {
    /// Operations.
    pub ops: Vec<String>,
    /// Classes of requests.
    pub io_classes: Vec<String>,
    /// Evidence of owners.
    pub evidences: Vec<String>,
    /// Access paths to a page: system call or mapping.
    pub vias: Vec<String>,
    /// Origins of paths.
    pub path_origins: Vec<String>,
    /// Kinds of calls without a row.
    pub unseen: Vec<UnseenKind>,
}

fn unseen_kinds(words: &[String]) -> Result<Vec<UnseenKind>> {
    let known = |word: &String| {
        UnseenKind::parse(word).ok_or_else(|| {
            anyhow!("unknown kind {word:?} in the BPF object: recorder and capture schema are out of sync")
        })
    };
    words.iter().map(known).collect()
}

/// Reads the names from the BPF object.
pub fn words() -> Result<Words> {
    let mut object = MaybeUninit::uninit();
    let open = IostrataSkelBuilder::default().open(&mut object).context("cannot open the BPF object")?;
    let data = open.maps.rodata_data.as_ref().ok_or_else(|| anyhow!("the BPF object has no .rodata"))?;
    Ok(Words {
        ops: crate::bpf::words(&data.op_names),
        io_classes: crate::bpf::words(&data.io_class_names),
        evidences: crate::bpf::words(&data.evidence_names),
        vias: crate::bpf::words(&data.via_names),
        path_origins: crate::bpf::words(&data.path_origin_names),
        unseen: unseen_kinds(&crate::bpf::words(&data.unseen_names))?,
    })
}
