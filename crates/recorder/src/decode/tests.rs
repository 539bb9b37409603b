use super::*;
use iostrata_capture::manifest::Privacy;

fn words(ops: &[&str]) -> Words {
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Words {
        ops: list(ops),
        io_classes: list(&["data", "journal"]),
        evidences: list(&["none", "direct", "cgroup"]),
        vias: list(&["", "call"]),
        path_origins: list(&["", "namespace", "filesystem", "cut"]),
        unseen: Vec::new(),
    }
}

fn veil() -> Redaction {
    Redaction::new(Privacy::None).expect("a key")
}

pub(crate) fn decoder() -> Decoder {
    Decoder::new(1_000, &words(&["", "read", "write"]), veil(), None).expect("known words")
}

#[test]
fn an_operation_without_a_word_is_no_row() {
    let mut event = types::file_event::default();
    assert!(decoder().syscall(&event, None).is_none());
    event.head.op = 200;
    assert!(decoder().syscall(&event, None).is_none());
    assert!(Decoder::new(0, &words(&["frobnicate"]), veil(), None).is_err());
}

#[test]
fn names_are_put_together_from_the_root_down() {
    let chars: Vec<i8> = b"dd\0bin\0usr\0junk".iter().map(|b| *b as i8).collect();
    assert_eq!(path_of(&chars, 3).as_deref(), Some("/usr/bin/dd"));
    assert_eq!(path_of(&chars, 0), None);
}

#[test]
fn results_that_no_program_sees_are_what_it_sees() {
    assert_eq!([-512, -513, -514, -516].map(result_of), [-4; 4]);
    assert_eq!([-511, -515, -517, -4, 0, 512].map(result_of), [-511, -515, -517, -4, 0, 512]);
}
