use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;

use super::beneath::step_by_step;
use super::*;

/// A capture with a folder `block`, and beside it files that must not be touched.
fn place() -> (tempfile::TempDir, Dir) {
    let place = tempfile::tempdir().expect("a temporary directory");
    for folder in ["run/block", "elsewhere/block"] {
        fs::create_dir_all(place.path().join(folder)).expect("room");
    }
    fs::write(place.path().join("elsewhere/block/part"), "kept").expect("room");
    let directory = Dir::open(&place.path().join("run")).expect("there");
    (place, directory)
}

fn text(mut file: File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).expect("readable");
    text
}

/// All operations in a folder, and their results.
fn all(folder: &Dir) -> Vec<(&'static str, Result<()>)> {
    vec![
        ("open", folder.open_file("part").map(drop)),
        ("write", folder.open_to_write("part").map(drop)),
        ("append", folder.open_to_append("part").map(drop)),
        ("lock", folder.open_or_create("part").map(drop)),
        ("create", folder.create_file("part").map(drop)),
        ("find", folder.find("part").map(drop)),
        ("rename", folder.rename("part", "other")),
        ("remove", folder.remove("part")),
        ("remove a directory", folder.remove_dir("part")),
        ("make", folder.make_dir("part", 0o750)),
        ("make unless there", folder.make_dir_unless_there("part", 0o750)),
        ("sync", folder.sync()),
        ("names", folder.names().map(drop)),
        ("entries", folder.entries().map(drop)),
        ("owner", folder.owner().map(drop)),
        ("keep", folder.clone().keep().map(drop)),
    ]
}

#[test]
fn no_link_is_followed_wherever_it_is_below_the_directory() {
    let (place, directory) = place();
    let at = |name: &str| place.path().join(name);
    fs::remove_dir(at("run/block")).expect("empty");
    symlink("../elsewhere/block", at("run/block")).expect("room");
    symlink("../elsewhere", at("run/segment-000002")).expect("room");
    for folder in [directory.sub("block"), directory.sub("segment-000002").sub("block")] {
        for (what, outcome) in all(&folder) {
            let error = outcome.expect_err(what).to_string();
            assert!(
                error.ends_with("/block: is a symbolic link or not a directory, expected a directory"),
                "{what}: {error}"
            );
        }
        assert!(!folder.is_there());
    }
    assert_eq!(fs::read_to_string(at("elsewhere/block/part")).expect("still there"), "kept");
    assert_eq!(fs::read_dir(at("elsewhere/block")).expect("there").count(), 1);
    // The path to it is the user's responsibility.
    symlink("run", at("link")).expect("room");
    assert!(Dir::open(&at("link")).expect("a directory").open_or_create("file").is_ok());
}

#[test]
fn a_folder_that_is_kept_has_to_be_the_same_and_where_it_was() {
    let (place, directory) = place();
    let at = |name: &str| place.path().join(name);
    let kept = directory.clone().keep().and_then(|kept| kept.keep_inside(["block"])).expect("there");
    let block = kept.sub("block");
    block.create_file("part").expect("room").write_all(b"rows").expect("room");
    fs::rename(at("run/block"), at("away")).expect("there");
    assert!(block.open_file("part").expect_err("gone").to_string().ends_with("No such file or directory (os error 2)"));
    fs::create_dir(at("run/block")).expect("room");
    for (what, outcome) in all(&block) {
        let error = outcome.expect_err(what).to_string();
        assert!(error.contains("/run/block: is another directory than at the start, expected"), "{what}: {error}");
    }
    assert_eq!(fs::read_dir(at("run/block")).expect("there").count(), 0);
    // Not pinned, it is whichever directory exists.
    assert!(directory.sub("block").create_file("part").is_ok());
    fs::remove_dir_all(at("run/block")).expect("there");
    fs::rename(at("away"), at("run/block")).expect("there");
    assert_eq!(text(block.open_file("part").expect("again where it was")), "rows");
    // The same if the directory that the user named has moved.
    fs::rename(at("run"), at("elsewhere/run")).expect("there");
    assert!(block.open_file("part").is_err() && kept.open_or_create("file").is_err());
    fs::rename(at("elsewhere/run"), at("run")).expect("there");
    assert!(block.open_file("part").is_ok() && kept.open_or_create("file").is_ok());
}

#[test]
fn a_name_is_one_word() {
    let (place, directory) = place();
    for name in ["", ".", "..", "block/part", "../elsewhere/block/part", "/etc/hostname", "block/"] {
        for (what, outcome) in [
            ("open", directory.open_file(name).map(drop)),
            ("create", directory.create_file(name).map(drop)),
            ("remove", directory.remove(name)),
            ("rename", directory.rename("block", name)),
            ("make", directory.make_dir(name, 0o750)),
        ] {
            assert!(matches!(outcome, Err(Error::Io { .. })), "{what} {name}");
        }
    }
    assert!(directory.sub("..").names().is_err() && directory.sub("../elsewhere").names().is_err());
    assert_eq!(fs::read_dir(place.path().join("run")).expect("there").count(), 1);
}

#[test]
fn only_regular_files_are_opened() {
    let (place, directory) = place();
    let at = |name: &str| place.path().join("run").join(name);
    fs::write(at("file"), "12345").expect("room");
    symlink(at("file"), at("link")).expect("room");
    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), Mode::RWXU).expect("room");
    for name in ["link", "pipe", "block"] {
        let error = directory.open_file(name).expect_err("not a file").to_string();
        assert!(error.ends_with("is not a regular file, expected one"), "{error}");
        assert!(directory.open_to_write(name).is_err() && directory.open_or_create(name).is_err(), "{name}");
    }
    assert!(directory.open_to_write("file").is_ok());
    assert_eq!(directory.find("file").expect("there").bytes, 5);
    assert!(directory.find("block").expect("there").is_dir() && !directory.find("link").expect("there").is_dir());
}

#[test]
fn what_is_elsewhere_too_is_read_and_not_written_to() {
    let (place, directory) = place();
    fs::hard_link(place.path().join("elsewhere/block/part"), place.path().join("run/part")).expect("room");
    assert_eq!(text(directory.open_file("part").expect("readable")), "kept");
    for opened in [directory.open_to_write("part"), directory.open_to_append("part"), directory.open_or_create("part")]
    {
        let error = opened.expect_err("refused").to_string();
        assert!(error.ends_with("part: has other hard links, expected a file with one"), "{error}");
    }
    // A new file replaces it here, and only here.
    directory.create_file("part").expect("room").write_all(b"new").expect("room");
    assert_eq!(fs::read_to_string(place.path().join("elsewhere/block/part")).expect("there"), "kept");
}

#[test]
fn what_a_symbolic_link_points_to_is_not_touched() {
    let (place, directory) = place();
    let secret = place.path().join("elsewhere/block/part");
    symlink(&secret, place.path().join("run/part")).expect("room");
    assert!(directory.open_or_create("part").is_err());
    assert!(directory.create_file("part").expect("a new file").metadata().is_ok_and(|made| made.len() == 0));
    assert_eq!(fs::read_to_string(&secret).expect("still there"), "kept");
    assert!(directory.find("part").expect("the new file").is_file());
    assert_eq!(fs::read_to_string(&secret).expect("still there"), "kept");
}

#[test]
fn missing_directories_are_made_from_the_lowest_one_that_is_there() {
    let (place, _) = place();
    let at = |name: &str| place.path().join(name);
    let made = Dir::create(&at("run/a/b"), 0o700).expect("room");
    assert_eq!((made.path(), made.names().expect("there").len()), (at("run/a/b").as_path(), 0));
    assert!(Dir::create(&at("run/a/b"), 0o700).is_err(), "it is there");
    made.remove_itself().expect("empty");
    assert!(at("run/a").exists() && !at("run/a/b").exists());
    // A dangling link also counts as existing.
    symlink(at("elsewhere/new"), at("run/link")).expect("room");
    assert!(Dir::create(&at("run/link"), 0o700).is_err() && Dir::create(&at("run/link/b"), 0o700).is_err());
    assert!(!at("elsewhere/new").exists());
    assert!(Dir::create(&at("elsewhere/block/part/b"), 0o700).is_err(), "below a file");
}

#[test]
fn without_openat2_it_is_the_same_step_by_step() {
    let (place, directory) = place();
    fs::create_dir_all(place.path().join("run/a/b")).expect("room");
    symlink("a", place.path().join("run/link")).expect("room");
    symlink("b", place.path().join("run/a/link")).expect("room");
    let paths = [".", "a", "a/b", "block", "link", "link/b", "a/link", "a/none", "none", "..", "../elsewhere", "/etc"];
    for path in paths {
        for flags in [OFlags::PATH | OFlags::DIRECTORY, OFlags::RDONLY | OFlags::DIRECTORY] {
            let opened = [beneath, step_by_step].map(|open| {
                open(directory.root.handle.as_fd(), Path::new(path), flags)
                    .and_then(Id::of)
                    .map_err(|e| refused(Path::new(path), e).to_string())
            });
            assert_eq!(opened[0], opened[1], "{path}");
            assert_eq!(opened[0].is_ok(), [".", "a", "a/b", "block"].contains(&path), "{path}");
        }
    }
}

/// Names of everything below a directory.
fn names_below(path: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).expect("a directory") {
        let path = entry.expect("a name").path();
        names.push(path.file_name().expect("a name").to_string_lossy().into_owned());
        if path.is_dir() {
            names.extend(names_below(&path));
        }
    }
    names.sort();
    names
}

#[test]
fn what_was_made_and_not_kept_is_taken_away_and_nothing_else() {
    let (place, _) = place();
    let at = |name: &str| place.path().join(name);
    fs::write(at("run/old"), "old").expect("room");
    let before = names_below(place.path());
    for path in ["run", "run/new/deep"] {
        let (directory, undo) = Dir::begin(&at(path), 0o700).expect("room");
        directory.create_file(".part.tmp").expect("room");
        directory.rename(".part.tmp", "part").expect("there");
        directory.make_dir("folder", 0o700).expect("room");
        directory.sub("folder").open_or_create("lock").expect("room");
        directory.create_file("gone").and_then(|_| directory.remove("gone")).expect("room");
        drop(undo);
        assert_eq!(names_below(place.path()), before, "{path}");
        let error = directory.create_file("late").expect_err("it is over").to_string();
        assert!(error.ends_with("late: not created: the command has already failed"), "{error}");
    }
    // Files of somebody else, and files that replaced others, stay.
    let (directory, undo) = Dir::begin(&at("run"), 0o700).expect("there");
    directory.make_dir("folder", 0o700).and_then(|()| directory.create_file("mine").map(drop)).expect("room");
    fs::write(at("run/folder/theirs"), "").expect("room");
    // Created while the other exists: a file system may reuse the inode number of a removed file.
    fs::write(at("run/other"), "theirs").and_then(|()| fs::rename(at("run/other"), at("run/mine"))).expect("room");
    directory.open_or_create("old").expect("there");
    directory.create_file(".old.tmp").and_then(|_| directory.rename(".old.tmp", "old")).expect("room");
    drop(undo);
    assert!(at("run/folder/theirs").exists() && at("run/old").exists());
    assert_eq!(fs::read_to_string(at("run/mine")).expect("theirs"), "theirs");
}

#[test]
fn what_is_kept_stays_with_all_its_names_at_once() {
    let (place, _) = place();
    let at = |name: &str| place.path().join(name);
    let (directory, undo) = Dir::begin(&at("out"), 0o700).expect("room");
    for name in ["a", "b"] {
        directory.create_file(format!(".{name}.tmp")).expect("room");
    }
    directory.make_dir("b", 0o700).expect("room");
    let names = [(".a.tmp", "a"), (".b.tmp", "b")];
    let error = directory.rename_all(&names).expect_err("a directory").to_string();
    assert!(error.ends_with("/out/b: cannot replace: is a directory"), "{error}");
    assert!(!at("out/a").exists());
    directory.remove_dir("b").and_then(|()| directory.rename_all(&names)).expect("nothing in the way");
    directory.create_file("later").expect("room");
    drop(undo);
    assert_eq!(names_below(&at("out")), ["a", "b", "later"]);
}
