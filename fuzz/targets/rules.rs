#![no_main]

use std::sync::OnceLock;

use iostrata_fuzz::inputs::{Stage, rules};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    rules(STAGE.get_or_init(|| Stage::new().expect("temporary directory")), input);
});
