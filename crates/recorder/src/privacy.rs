//! Redaction of command lines and paths, which may both contain secrets.

use std::hash::Hasher;

use anyhow::{Context, Result};
use iostrata_capture::manifest::{Manifest, Privacy};
use rustix::rand::{GetRandomFlags, getrandom};
use siphasher::sip::SipHasher24;

/// Redacts texts before they are recorded. Every recording has its own key, which is never stored. So equal texts of one
/// recording have equal hashes, and a text cannot be found by hashing guesses.
pub struct Redaction {
    privacy: Privacy,
    key: [u8; 16],
}

impl Redaction {
    /// Creates a redaction with a new key.
    pub fn new(privacy: Privacy) -> Result<Redaction> {
        let mut key = [0; 16];
        getrandom(&mut key, GetRandomFlags::empty()).context("cannot get a random key")?;
        Ok(Redaction { privacy, key })
    }

    fn hash(&self, text: &str) -> String {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(text.as_bytes());
        format!("{:016x}", hasher.finish())
    }

    /// Redacts a text, hashed as one unit.
    fn text(&self, text: String) -> Option<String> {
        match self.privacy {
            Privacy::None => Some(text),
            Privacy::Hash => Some(self.hash(&text)),
            Privacy::Drop => None,
        }
    }

    /// Redacts a path. Each name is hashed separately, so that files of one directory remain recognizable as such.
    pub fn path(&self, path: String) -> Option<String> {
        let hashed = |name: &str| if name.is_empty() { String::new() } else { self.hash(name) };
        match self.privacy {
            Privacy::None => Some(path),
            Privacy::Hash => Some(path.split('/').map(hashed).collect::<Vec<_>>().join("/")),
            Privacy::Drop => None,
        }
    }

    /// Redacts the path of an executable. The file name stays, as the command name does, because systems are identified
    /// by it.
    pub fn executable(&self, path: String) -> Option<String> {
        if self.privacy == Privacy::None {
            return Some(path);
        }
        let (directory, name) = path.rsplit_once('/')?;
        Some(match self.path(directory.to_owned()) {
            Some(directory) => format!("{directory}/{name}"),
            None => format!("/{name}"),
        })
    }

    /// Redacts a command line.
    pub fn command_line(&self, text: String) -> Option<String> {
        self.text(text)
    }

    /// Redacts the manifest. Must be called before the manifest is first written.
    pub fn cover(&self, manifest: &mut Manifest) {
        if self.privacy == Privacy::None {
            return;
        }
        manifest.command_line = self.words(std::mem::take(&mut manifest.command_line));
        manifest.filters.command = manifest.filters.command.take().map(|command| self.words(command));
        for mount in &mut manifest.mounts {
            mount.target = self.path(std::mem::take(&mut mount.target)).unwrap_or_default();
            // Path or user of a network share. Devices are not secret, nor are words such as `tmpfs`.
            if mount.source.contains(['/', ':', '@']) && !mount.source.starts_with("/dev/") {
                mount.source = self.text(std::mem::take(&mut mount.source)).unwrap_or_default();
            }
        }
        for device in &mut manifest.devices {
            device.backing_file = device.backing_file.take().and_then(|file| self.path(file));
        }
    }

    /// Redacts the words of a command; keeps the file name of the program.
    fn words(&self, words: Vec<String>) -> Vec<String> {
        let mut words = words.into_iter();
        let program = words.next().map(|program| program.rsplit('/').next().unwrap_or_default().to_owned());
        let rest: Vec<String> = words.collect();
        let rest = if rest.is_empty() { None } else { self.text(rest.join(" ")) };
        program.into_iter().chain(rest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "/srv/customers/acme/invoice 7";

    fn veil(privacy: Privacy) -> Redaction {
        Redaction { privacy, key: *b"0123456789abcdef" }
    }

    #[test]
    fn without_privacy_all_is_recorded() {
        let veil = veil(Privacy::None);
        assert_eq!(veil.path(SECRET.into()).as_deref(), Some(SECRET));
        assert_eq!(veil.executable("/usr/bin/curl".into()).as_deref(), Some("/usr/bin/curl"));
        assert_eq!(veil.command_line("curl -u me:secret".into()).as_deref(), Some("curl -u me:secret"));
    }

    #[test]
    fn hashes_keep_directories_together_and_names_of_programs() {
        let veil = veil(Privacy::Hash);
        let one = veil.path(SECRET.into()).expect("a path");
        let other = veil.path("/srv/customers/acme/invoice 8".into()).expect("a path");
        assert_eq!(one.rsplit_once('/').map(|(directory, _)| directory), other.rsplit_once('/').map(|(d, _)| d));
        assert_ne!(one, other);
        assert!(!one.contains("acme") && one.starts_with('/') && one.len() == 4 * 17, "{one}");
        let exe = veil.executable("/home/ann/bin/etcd".into()).expect("a path");
        assert!(exe.ends_with("/etcd") && !exe.contains("ann"), "{exe}");
        let line = veil.command_line("curl -u me:secret".into()).expect("a hash");
        assert_eq!((line.len(), line.contains("secret")), (16, false));
        assert_ne!(Some(line), Redaction::new(Privacy::Hash).expect("a key").command_line("curl -u me:secret".into()));
    }

    #[test]
    fn dropped_texts_are_not_there() {
        let veil = veil(Privacy::Drop);
        assert_eq!((veil.path(SECRET.into()), veil.command_line("curl".into())), (None, None));
        assert_eq!(veil.executable("/home/ann/bin/etcd".into()).as_deref(), Some("/etcd"));
        assert_eq!(veil.words(vec!["/home/ann/iostrata".into(), "--out".into(), SECRET.into()]), ["iostrata"]);
    }
}
