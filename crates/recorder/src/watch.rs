//! Main loop during the recording: the duration, the command, requests, and the progress line.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crossbeam_channel::Receiver;
use iostrata_capture::manifest::Device;
use iostrata_capture::message::{tell, tell_all};

use crate::health::Health;
use crate::host::devices;
use crate::losses::Losses;
use crate::metrics::{Process, Snapshot};
use crate::options::Record;
use crate::progress::Progress;
use crate::sampling::RateController;
use crate::self_telemetry::books_until_now;
use crate::service::Service;
use crate::session::{Accounts, Session};
use crate::signals::Told;
use crate::sink::Totals;
use crate::socket;

/// Interval at which the main thread checks the duration and updates the progress line.
const TICK: Duration = Duration::from_millis(100);

/// Time for the last requests of a command to complete.
const IDLE_WAIT: Duration = Duration::from_secs(1);

/// Time for a terminated command to end before it is abandoned.
const COMMAND_GRACE: Duration = Duration::from_secs(5);

/// Waits for the end of a recording.
pub struct Watch<'a> {
    /// Options of the recording.
    pub options: &'a Record,
    /// Disks with I/O to wait for at the end.
    pub disks: &'a [Device],
    /// Requests from signals and clients.
    pub told: &'a Receiver<Told>,
    /// Totals of the other threads.
    pub totals: &'a Totals,
    /// The BPF programs.
    pub session: &'a Session<'a>,
    /// Losses in the recorder.
    pub losses: &'a Losses,
    /// Rate controller, with `--cpu-limit`.
    pub governor: Option<RateController<'a>>,
    /// Service manager, which receives the status.
    pub service: &'a mut Service,
    /// Id of the capture.
    pub capture_id: &'a str,
    /// Time at which everything was attached.
    pub started: Instant,
}

impl Watch<'_> {
    /// Waits for the first of: a signal, the end of the duration, the end of the command. Returns the reason and the
    /// command's exit status.
    pub fn until_end(&mut self, mut child: Option<Child>) -> Result<(String, Option<ExitStatus>)> {
        let mut progress = Progress::start(self.options.live.is_some());
        let (reason, status) = loop {
            if let Some(running) = child.as_mut()
                && let Some(status) = running.try_wait().context("cannot wait for the command")?
            {
                break (self.until_written_back()?, Some(status));
            }
            let left = self.options.duration.map(|duration| duration.saturating_sub(self.started.elapsed()));
            if left == Some(Duration::ZERO) {
                break ("--duration elapsed".to_owned(), None);
            }
            if let Some(why) = self.pass(left.unwrap_or(TICK).min(TICK))? {
                break (why.to_owned(), None);
            }
            let lost = self
                .look()?
                .values()
                .flatten()
                .map(|a| a.ring_full + a.inflight_full + a.missed_return + a.unseen_end)
                .sum();
            progress.show(self.totals, lost);
        };
        progress.finish();
        let status = match (status, child) {
            (None, Some(child)) => end_command(child),
            (status, _) => status,
        };
        Ok((reason, status))
    }

    /// Waits for `time`, or until a request arrives, and handles it. Returns the reason if the request is to stop.
    fn pass(&mut self, time: Duration) -> Result<Option<&'static str>> {
        match self.told.recv_timeout(time) {
            Ok(Told::Stop(why)) => return Ok(Some(why)),
            Ok(Told::Rotate) => self.totals.rotate.store(true, Relaxed),
            Ok(Told::Status) => tell_all(&self.health()?.text()),
            Ok(Told::Asked(stream)) => socket::answer(stream, &self.health()?),
            Err(_) => {}
        }
        Ok(None)
    }

    fn health(&self) -> Result<Health> {
        Ok(self.health_of(&self.session.accounts()?))
    }

    /// Returns the accounts of the BPF programs, after all periodic checks.
    fn look(&mut self) -> Result<Accounts> {
        let accounts = self.session.accounts()?;
        self.session.look_at_tables();
        if let Some(Err(error)) = self.governor.as_mut().map(RateController::look) {
            tell(&format!("iostrata: {error:#}; the sampling rate of --cpu-limit stays unchanged\n"));
        }
        let health = self.service.wants_status().then(|| self.health_of(&accounts));
        self.service.tick(self.totals, health.as_ref());
        Ok(accounts)
    }

    fn health_of(&self, accounts: &Accounts) -> Health {
        let is_limited = self.options.cpu_limit_percent.is_some();
        let programs = is_limited.then(|| self.session.programs_ns().ok()).flatten().map(Duration::from_nanos);
        let process = Process { started: self.started, programs };
        let (books, maps) = (books_until_now(accounts, self.losses), self.session.table_uses());
        let metrics = Snapshot::of(&[&process, self.totals, &books, &maps]);
        Health::of(self.capture_id, metrics, self.totals.error.get().cloned())
    }

    /// Continues after the end of the command until its dirty pages are written back, a signal arrives, or the time
    /// limit is reached.
    fn until_written_back(&mut self) -> Result<String> {
        let ended = Instant::now();
        let mut said = false;
        loop {
            let left = dirty_bytes(&self.look()?);
            if left == 0 {
                wait_until_idle(self.disks);
                return Ok("the command ended".to_owned());
            }
            let longest = self.options.writeback_wait;
            if ended.elapsed() >= longest {
                return Ok(format!("the command ended; {left} bytes that it wrote were not written back"));
            }
            if !said && !longest.is_zero() {
                let bytes = indicatif::HumanBytes(left);
                let longest = humantime::format_duration(longest);
                tell(&format!(
                    "iostrata: the command ended; waiting up to {longest} for writeback of {bytes} that it wrote\n"
                ));
                said = true;
            }
            if let Some(why) = self.pass(TICK / 4)? {
                return Ok(format!("{why}, after the command had ended"));
            }
        }
    }
}

/// Bytes of dirty pages of the recorded processes that are not in writeback to the device.
fn dirty_bytes(accounts: &Accounts) -> u64 {
    let (mut dirtied, mut cleaned) = (0u64, 0u64);
    for account in accounts.values().flatten() {
        dirtied = dirtied.wrapping_add(account.dirtied_bytes);
        cleaned = cleaned.wrapping_add(account.cleaned_bytes);
    }
    dirtied.saturating_sub(cleaned)
}

/// Waits for the last requests to complete. Disks kept busy by other processes are waited for only a limited time.
fn wait_until_idle(disks: &[Device]) {
    let since = Instant::now();
    while since.elapsed() < IDLE_WAIT && !disks.iter().all(|disk| devices::is_idle(&disk.name)) {
        std::thread::sleep(TICK / 20);
    }
}

/// Terminates the command when the recording ends first.
fn end_command(mut child: Child) -> Option<ExitStatus> {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw)?;
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    let asked = Instant::now();
    while asked.elapsed() < COMMAND_GRACE {
        match child.try_wait() {
            // Terminated by the recorder: not a failure of the command.
            Ok(Some(status)) if status.signal() == Some(15) => return None,
            Ok(Some(status)) => return Some(status),
            Ok(None) => std::thread::sleep(TICK / 4),
            Err(_) => return None,
        }
    }
    tell(&format!("iostrata: the command (process {}) did not end on SIGTERM; it continues unrecorded\n", child.id()));
    None
}
