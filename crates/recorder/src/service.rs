//! Notifications to a service manager (sd_notify(3)), if there is one.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::health::Health;
use crate::sink::Totals;

/// Interval between status notifications.
const TELL: Duration = Duration::from_secs(10);

/// Service manager, if there is one.
pub struct Service {
    /// Watchdog timeout, if enabled.
    watchdog: Option<Duration>,
    alive: Option<Instant>,
    told: Option<Instant>,
}

impl Service {
    /// Reports that the recording has begun.
    pub fn start() -> Service {
        tell(&[NotifyState::Ready]);
        Service { watchdog: sd_notify::watchdog_enabled(), alive: None, told: None }
    }

    /// Sends the notifications that are due, the status if it is given. Must be called often. The watchdog is notified while the rings are drained. A
    /// stalled disk is no reason for a restart, which would lose the waiting events.
    pub fn tick(&mut self, totals: &Totals, health: Option<&Health>) {
        if let Some(patience) = self.watchdog
            && is_due(self.alive, patience / 4)
            && totals.drain.silence().is_some_and(|silence| silence < patience / 2)
        {
            tell(&[NotifyState::Watchdog]);
            self.alive = Some(Instant::now());
        }
        if let Some(health) = health {
            let complaints = health.complaints();
            let how =
                complaints.first().map_or_else(|| health.headline(), |wrong| format!("{}; {wrong}", health.headline()));
            tell(&[NotifyState::Status(&how)]);
            self.told = Some(Instant::now());
        }
    }

    /// Whether a status notification is due.
    pub fn wants_status(&self) -> bool {
        is_due(self.told, TELL)
    }

    /// Reports that the recording has ended; only writing remains.
    pub fn stop(self) {
        tell(&[NotifyState::Stopping]);
    }
}

fn is_due(last: Option<Instant>, every: Duration) -> bool {
    last.is_none_or(|last| last.elapsed() >= every)
}

/// Sends a notification. An error does not end the recording.
fn tell(states: &[NotifyState]) {
    let _ = sd_notify::notify(states);
}
