//! Rotation of the output file: the full one is renamed, and compressed with zstd.
//!
//! After a crash in between, the renamed file is there uncompressed, with all its lines; if its compressed copy is there too, that is complete.

use std::fs::File;
use std::io;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use iostrata_capture::dir::Dir;

/// Compression level: the default of zstd.
const LEVEL: i32 = 3;

/// Name of a file that was full at a time.
fn full_name(name: &str, at: DateTime<Utc>) -> String {
    format!("{name}.{}Z", at.format("%Y%m%dT%H%M%S%6f"))
}

/// Renames the file, which must have all its lines, and compresses it. Returns its new name.
///
/// # Errors
/// If the directory cannot be changed, or there is no room.
pub fn rotate(directory: &Dir, name: &str, at: DateTime<Utc>) -> Result<String> {
    let full = full_name(name, at);
    directory.rename(name, &full)?;
    let compressed = format!("{full}.zst");
    let temporary = format!(".{compressed}.tmp");
    let write = || -> Result<()> {
        let mut from = directory.open_file(&full)?;
        let to = directory.create_file_for(&temporary, &compressed)?;
        let mut encoder = zstd::Encoder::new(to, LEVEL)?;
        io::copy(&mut from, &mut encoder)?;
        let to: File = encoder.finish()?;
        Ok(to.sync_all()?)
    };
    if let Err(error) = write() {
        let _ = directory.remove(&temporary);
        return Err(error).with_context(|| format!("{}: cannot compress", directory.path().join(&full).display()));
    }
    directory.rename(&temporary, &compressed)?;
    directory.sync()?;
    directory.remove(&full)?;
    Ok(compressed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_compressed_under_another_name() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("hist.jsonl");
        std::fs::write(&path, "line\n".repeat(1000)).expect("room");
        let (directory, name) = Dir::around(&path).expect("a directory");
        let at = DateTime::from_timestamp_micros(1_700_000_000_250_000).expect("a time");
        assert_eq!(rotate(&directory, &name, at).expect("room"), "hist.jsonl.20231114T221320250000Z.zst");
        let names: Vec<_> =
            std::fs::read_dir(place.path()).expect("there").map(|of| of.expect("there").file_name()).collect();
        assert_eq!(names, ["hist.jsonl.20231114T221320250000Z.zst"]);
        let packed = File::open(place.path().join(&names[0])).expect("there");
        assert_eq!(zstd::decode_all(packed).expect("zstd"), "line\n".repeat(1000).as_bytes());
    }
}
