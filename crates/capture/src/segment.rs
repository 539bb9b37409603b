//! Segments: a continued capture consists of several recordings, the later ones in folders of the first.

use crate::dir::Dir;
use crate::error::Result;
use crate::part::numbered;
use crate::unbegun::Remains;

/// Returns the folder name of segment `number`, in the directory of segment 1.
fn folder(number: u32) -> String {
    format!("segment-{number:06}")
}

fn number(name: &str) -> Option<u32> {
    name.strip_prefix("segment-")?.parse().ok().filter(|number| *number > 1)
}

/// Returns the segments of the capture in `directory`, in order; each is a directory with its own manifest and tables.
pub fn segments(directory: &Dir) -> Result<Vec<Dir>> {
    let later = later(directory)?.into_iter().filter(|segment| Remains::of(segment).is_none());
    Ok(std::iter::once(directory.clone()).chain(later).collect())
}

/// Returns folders of later segments with a recorder that ended, or was terminated, before it began to record.
pub fn unbegun(directory: &Dir) -> Result<Vec<Dir>> {
    Ok(later(directory)?.into_iter().filter(|segment| Remains::of(segment).is_some()).collect())
}

fn later(directory: &Dir) -> Result<Vec<Dir>> {
    Ok(numbered(directory, number)?.into_iter().map(|number| directory.sub(folder(number))).collect())
}

/// Returns the last folder of a later segment, whatever its content.
pub fn last(directory: &Dir) -> Result<Option<Dir>> {
    Ok(later(directory)?.pop())
}

/// Returns the directory for the next segment.
pub fn next(directory: &Dir) -> Result<Dir> {
    let last = numbered(directory, number)?.into_iter().max().unwrap_or(1);
    Ok(directory.sub(folder(last.saturating_add(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_in_the_order_of_their_numbers_and_nothing_else_is_one() {
        let place = tempfile::tempdir().expect("a directory");
        let at = |name: &str| place.path().join(name);
        let directory = Dir::open(place.path()).expect("there");
        let paths = |found: Vec<Dir>| found.iter().map(|segment| segment.path().to_owned()).collect::<Vec<_>>();
        let next = || next(&directory).expect("a place").path().to_owned();
        assert_eq!(paths(segments(&directory).expect("segments")), [place.path()]);
        assert_eq!(next(), at("segment-000002"));
        for name in ["segment-000010", "segment-000002", "segment-000001", "segment-x", "block"] {
            std::fs::create_dir(at(name)).expect("a folder");
        }
        std::fs::create_dir(at("segment-000004")).expect("a folder");
        std::fs::write(at("segment-000004/.lock"), "").expect("room");
        assert_eq!(paths(unbegun(&directory).expect("one")), [at("segment-000004")]);
        let expected = [place.path().to_owned(), at("segment-000002"), at("segment-000010")];
        assert_eq!(paths(segments(&directory).expect("segments")), expected);
        assert_eq!(next(), at("segment-000011"));
    }
}
