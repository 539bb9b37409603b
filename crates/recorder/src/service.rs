//! What a service manager is told (sd_notify(3)); nothing where none asks for it.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::health::Health;
use crate::sink::Totals;

/// How often the manager is told how things stand.
const TELL: Duration = Duration::from_secs(10);

/// The service manager, if there is one.
pub struct Service {
    /// How long it waits for a sign of life, where it does.
    watchdog: Option<Duration>,
    alive: Option<Instant>,
    told: Option<Instant>,
}

impl Service {
    /// The recording has begun.
    pub fn start() -> Service {
        tell(&[NotifyState::Ready]);
        Service { watchdog: sd_notify::watchdog_enabled(), alive: None, told: None }
    }

    /// To be called often. The manager hears that the recorder lives while its rings are emptied; a disk that stands still is no
    /// reason to start it anew, which would lose what waits.
    pub fn tick(&mut self, totals: &Totals, health: impl FnOnce() -> Health) {
        let due = |last: Option<Instant>, every: Duration| last.is_none_or(|last| last.elapsed() >= every);
        if let Some(patience) = self.watchdog
            && due(self.alive, patience / 4)
            && totals.drain.silence().is_some_and(|silence| silence < patience / 2)
        {
            tell(&[NotifyState::Watchdog]);
            self.alive = Some(Instant::now());
        }
        if due(self.told, TELL) {
            let health = health();
            let complaints = health.complaints();
            let how =
                complaints.first().map_or_else(|| health.headline(), |wrong| format!("{}; {wrong}", health.headline()));
            tell(&[NotifyState::Status(&how)]);
            self.told = Some(Instant::now());
        }
    }

    /// The recording is over; what is left is to write.
    pub fn stop(self) {
        tell(&[NotifyState::Stopping]);
    }
}

/// A manager that does not listen is no reason to end a recording.
fn tell(states: &[NotifyState]) {
    let _ = sd_notify::notify(states);
}
