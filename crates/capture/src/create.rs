//! How files of a capture are made.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Result};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// The owner's to write, the group's to read.
const MODE: u32 = 0o640;

/// To write, and never to what a symbolic link points to.
pub(crate) fn options() -> OpenOptions {
    let mut options = File::options();
    options.write(true).mode(MODE).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// Makes a new file in the place of what an earlier writer may have left there under the same name.
pub(crate) fn create(path: &Path) -> Result<File> {
    let new = || options().create_new(true).open(path);
    match new() {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => fs::remove_file(path).and_then(|()| new()),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_symbolic_link_points_to_is_not_touched() {
        let directory = tempfile::tempdir().expect("a directory");
        let (secret, link) = (directory.path().join("secret"), directory.path().join("part"));
        fs::write(&secret, "kept").expect("a file");
        std::os::unix::fs::symlink(&secret, &link).expect("a link");
        assert!(options().create(true).truncate(false).open(&link).is_err());
        assert!(create(&link).expect("a new file").metadata().is_ok_and(|made| made.len() == 0));
        assert_eq!(fs::read_to_string(&secret).expect("still there"), "kept");
        assert!(fs::symlink_metadata(&link).expect("the new file").is_file());
    }
}
