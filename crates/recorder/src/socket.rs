//! Socket for status queries of a recording. It is not in the capture's directory: a connection there would wait for a stalled disk, which is
//! when a status is needed.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use crossbeam_channel::Sender;
use iostrata_capture::dir::Dir;

use crate::health::Health;
use crate::privilege::{self, Invoker};
use crate::signals::Told;

/// Directory of the sockets, for users who may write there; below XDG_RUNTIME_DIR for others.
const FOLDER: &str = "/run/iostrata";

/// Time for a client to read the answer, which fits into the socket's buffer.
const READING: Duration = Duration::from_millis(100);

/// Time limit of an answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Maximum size of an answer.
const MOST_BYTES: u64 = 1 << 20;

/// Directories of the sockets, the preferred one first.
fn folders() -> Vec<PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(|own| Path::new(&own).join("iostrata"));
    std::iter::once(FOLDER.into()).chain(own).collect()
}

/// Name of the socket for the capture in `directory`, independent of the directory's path.
fn name(directory: &Dir) -> Result<String> {
    let id = directory.id()?;
    Ok(format!("{:x}-{:x}", id.dev, id.ino))
}

/// A socket; removed when dropped, if that is still permitted. A connection to a leftover socket is refused.
pub struct Socket {
    path: PathBuf,
    listener: UnixListener,
}

impl Socket {
    /// Creates the socket for the capture in `directory`, for `owner` and their group. The caller must hold the capture's lock.
    pub fn make(directory: &Dir, owner: Option<Invoker>) -> Result<Socket> {
        let name = name(directory)?;
        // A directory of the user's own may be changed by that user meanwhile.
        let by = |folder: &Path| owner.filter(|_| folder != Path::new(FOLDER));
        let bound = |folder: PathBuf| privilege::acting_as(by(&folder), || bind(&folder, &name, owner));
        let mut outcomes = folders().into_iter().map(bound);
        let first = outcomes.next().unwrap_or_else(|| bail!("there is no directory for the status socket"));
        first.or_else(|error| outcomes.find_map(Result::ok).ok_or(error))
    }

    /// Sends each connection to `teller`.
    pub fn listen(&self, teller: Sender<Told>) -> Result<()> {
        let listener = self.listener.try_clone().context("cannot listen for status queries")?;
        let listen = move || {
            for stream in listener.incoming() {
                if stream.is_ok_and(|stream| teller.send(Told::Asked(stream)).is_err()) {
                    break;
                }
            }
        };
        std::thread::Builder::new().name("status".into()).spawn(listen).context("cannot start the status thread")?;
        Ok(())
    }
}

impl Drop for Socket {
    #[expect(clippy::disallowed_methods, reason = "sockets are in a directory of root or of the user")]
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[expect(clippy::disallowed_methods, reason = "sockets are in a directory of root or of the user")]
fn bind(folder: &Path, name: &str, owner: Option<Invoker>) -> Result<Socket> {
    let path = folder.join(name);
    let make = || {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        remove_deserted(folder)?;
        // It is renamed only when it listens, so that no other recorder removes it as a leftover.
        let unnamed = folder.join(format!(".{}-{name}", std::process::id()));
        let _ = fs::remove_file(&unnamed);
        let listener = UnixListener::bind(&unnamed)?;
        fs::set_permissions(&unnamed, fs::Permissions::from_mode(0o660))?;
        privilege::give_to(&unnamed, owner)?;
        fs::rename(&unnamed, &path)?;
        Ok::<_, std::io::Error>(listener)
    };
    let listener = make().with_context(|| format!("cannot make {}", path.display()))?;
    Ok(Socket { path, listener })
}

/// Removes the sockets in `folder` without a listener: those of recorders that were killed, or that were no longer permitted to remove them.
#[expect(clippy::disallowed_methods, reason = "sockets are in a directory of root or of the user")]
fn remove_deserted(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_socket()
            && !entry.file_name().as_encoded_bytes().starts_with(b".")
            && UnixStream::connect(entry.path()).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
        {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Answers a client. Errors, such as a closed connection, are ignored.
pub fn answer(mut asked: UnixStream, health: &Health) {
    if let Ok(text) = serde_json::to_vec(health) {
        let _ = asked.set_write_timeout(Some(READING)).and_then(|()| asked.write_all(&text));
    }
}

/// Queries the health of the recording into `directory`; none if there is no recorder.
///
/// # Errors
/// If the recorder does not answer, or may not be queried.
pub fn ask(directory: &Dir) -> Result<Option<Health>> {
    let name = name(directory)?;
    let directory = directory.path();
    let Some(stream) = folders().iter().find_map(|folder| connect(&folder.join(&name)).transpose()).transpose()? else {
        return Ok(None);
    };
    stream.set_read_timeout(Some(ANSWER)).context("cannot wait for an answer")?;
    let mut text = Vec::new();
    match stream.take(MOST_BYTES).read_to_end(&mut text) {
        Ok(_) => {}
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            bail!("{}: the recorder does not answer: it is stopped, or hangs", directory.display());
        }
        Err(e) => return Err(e).with_context(|| format!("{}: cannot read the answer", directory.display())),
    }
    let health = serde_json::from_slice(&text)
        .with_context(|| format!("{}: the answer is not a status", directory.display()))?;
    Ok(Some(health))
}

fn connect(path: &Path) -> Result<Option<UnixStream>> {
    match UnixStream::connect(path) {
        Ok(stream) => Ok(Some(stream)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        Err(e) => Err(e).with_context(|| format!("cannot query the recorder at {}", path.display())),
    }
}
