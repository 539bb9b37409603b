//! The command to record: started, held until everything is attached, then released.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};

use anyhow::{Context, Result};
use iostrata_capture::message::tell;

use crate::limits;

/// Hidden subcommand that waits and then becomes the command.
pub const LAUNCH: &str = "launch-when-told";

/// A started command that waits for its release.
pub struct Held {
    child: Child,
    gate: PipeWriter,
    // The child opens it by its name in /proc, so the command inherits no descriptor.
    child_end: PipeReader,
}

impl Held {
    /// Starts a process that will become `command`.
    pub fn start(command: &[String]) -> Result<Held> {
        let (child_end, gate) = std::io::pipe().context("cannot make a pipe")?;
        let this = std::env::current_exe().context("cannot find the recorder's own executable")?;
        let child = Command::new(this)
            .arg(LAUNCH)
            .arg(format!("/proc/{}/fd/{}", std::process::id(), child_end.as_raw_fd()))
            .arg(limits::files_before())
            .args(command)
            .spawn()
            .with_context(|| format!("cannot start {}", command.join(" ")))?;
        Ok(Held { child, gate, child_end })
    }

    /// Lets the command run. Keep the returned pipe end until the child has ended: a slow child may still have to open
    /// it to read the release byte.
    pub fn release(mut self) -> Result<(Child, PipeReader)> {
        self.gate.write_all(b"!").context("cannot let the command go")?;
        Ok((self.child, self.child_end))
    }
}

/// Runs the hidden subcommand: waits for the release byte on the pipe, then becomes the command. Returns only on
/// failure: 127 if the command does not exist, 126 if it cannot be run, as shells do.
pub fn launch(gate: &OsStr, files: &str, command: &[OsString]) -> i32 {
    let mut word = [0u8; 1];
    let told = File::open(gate).and_then(|mut gate| gate.read(&mut word));
    // The recorder has ended or given up: the command must not run unrecorded.
    if !matches!(told, Ok(1)) {
        return 125;
    }
    limits::restore_files(files);
    let Some((program, arguments)) = command.split_first() else { return 127 };
    let error = Command::new(program).args(arguments).exec();
    tell(&format!("iostrata: cannot run {}: {error}\n", program.display()));
    if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }
}

/// Exit status in the form that a shell reports.
pub fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(1)
}
