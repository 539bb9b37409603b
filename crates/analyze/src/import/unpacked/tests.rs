use std::io::{Cursor, Write};

use super::*;

fn read(packed: &[u8]) -> (Vec<u8>, Option<String>) {
    let mut found = Vec::new();
    let read = unpack(Box::new(Cursor::new(packed.to_vec()))).and_then(|(mut read, _)| {
        let mut buffer = [0; 1_000];
        loop {
            match read.read(&mut buffer)? {
                0 => return Ok(()),
                bytes => found.extend_from_slice(&buffer[..bytes]),
            }
        }
    });
    let error = read.err().map(|error| {
        assert_eq!(is_cut_off(true, &error), error.to_string() == CUT_OFF, "{error}");
        error.to_string()
    });
    (found, error)
}

/// Lines with little repetition. `lines.xz` has them, compressed by `xz -6`.
fn text() -> Vec<u8> {
    let mut number = 1u64;
    let mut text = String::new();
    for line in 0..1_000 {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.push_str(&format!("{line},R,{},{},5\n", number >> 33, number >> 60));
    }
    text.into_bytes()
}

fn packed(packing: Packing, text: &[u8]) -> Vec<u8> {
    match packing {
        Packing::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(text).and_then(|()| encoder.finish()).expect("room")
        }
        Packing::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("a level");
            // The zstd program does so too.
            encoder.include_checksum(true).expect("an option");
            encoder.write_all(text).and_then(|()| encoder.finish()).expect("room")
        }
        Packing::Xz => {
            assert!(text == super::tests::text(), "the contents of the file");
            include_bytes!("lines.xz").to_vec()
        }
    }
}

const ALL: [Packing; 3] = [Packing::Gzip, Packing::Zstd, Packing::Xz];

#[test]
fn what_is_shorter_than_any_magic_is_read_as_it_is() {
    for text in ["", "1", "\u{1f}", "12345", "BZh,R,0,512,5\n"] {
        let (mut read, packed) = unpack(Box::new(Cursor::new(text))).expect("readable");
        let mut found = String::new();
        read.read_to_string(&mut found).expect("text");
        assert_eq!((found.as_str(), packed), (text, false));
    }
}

#[test]
fn several_in_a_row_are_one_with_zeros_between_and_behind_them() {
    let text = text();
    for packing in ALL {
        let one = packed(packing, &text);
        for zeros in [0, 4, 4_096, 20_000] {
            let zeros = vec![0; zeros];
            let all = [&one[..], &zeros, &one, &one, &zeros].concat();
            assert_eq!(read(&all), ([&text[..], &text, &text].concat(), None), "{packing:?}");
        }
    }
    // Skippable frames of zstd are skipped.
    let skipped = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3], &packed(Packing::Zstd, b"x")[..]].concat();
    assert_eq!(read(&[packed(Packing::Zstd, b"y"), skipped].concat()), (b"yx".to_vec(), None));
}

#[test]
fn of_what_was_cut_off_anywhere_there_is_the_begin_and_it_is_told() {
    let text = text();
    for packing in ALL {
        let one = packed(packing, &text);
        let two = [&one[..], &one].concat();
        for end in (10..one.len()).step_by(97).chain([one.len() - 1]).chain((one.len() + 1)..(one.len() + 12)) {
            let (found, error) = read(&two[..end]);
            let whole = if end > one.len() { text.len() } else { 0 };
            assert!(found.len() >= whole && [&text[..], &text].concat().starts_with(&found), "{packing:?} {end}");
            assert_eq!(error.as_deref(), Some(CUT_OFF), "{packing:?} {end} of {}", one.len());
        }
    }
}

#[test]
fn of_xz_that_was_cut_off_all_is_there_that_can_be_decoded() {
    let text = text();
    let one = packed(Packing::Xz, &text);
    let mut before = 0;
    for end in (200..one.len() - 100).step_by(50) {
        let (found, _) = read(&one[..end]);
        // The stream is one chunk. The output lags less than 600 bytes behind its share, as with liblzma.
        assert!(found.len() > before && found.len() + 600 > end * text.len() / one.len(), "{end}: {}", found.len());
        before = found.len();
    }
}

#[test]
fn what_is_damaged_or_has_something_else_behind_it_is_told_in_plain_words() {
    let text = text();
    for packing in ALL {
        let (one, name) = (packed(packing, &text), packing.name());
        let mut damaged = one.clone();
        for byte in &mut damaged[one.len() / 2..one.len() / 2 + 40] {
            *byte ^= 0x55;
        }
        assert_eq!(read(&damaged).1, Some(format!("its {name} data is damaged")));
        for behind in ["garbage", "0,R,0,512,5\n", "\u{1}"] {
            let (found, error) = read(&[&one[..], behind.as_bytes()].concat());
            let begins = format!("its {name} data is followed by other data, which begins with \"");
            assert_eq!(found, text, "all before it");
            assert!(error.is_some_and(|error| error.starts_with(&begins)), "{packing:?} {behind}");
        }
    }
    let (_, error) = read(b"BZh91AY&SY\x01\x02");
    assert!(error.is_some_and(|error| error.starts_with("it is compressed by bzip2, expected gzip, zstd, xz or none")));
}
