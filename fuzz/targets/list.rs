#![no_main]

use std::sync::OnceLock;

use iostrata_fuzz::inputs::{Stage, list};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    list(STAGE.get_or_init(|| Stage::new().expect("temporary directory")), input);
});
