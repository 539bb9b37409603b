//! Stacking depth of a request's device, cached, because it is needed for every request.

use iostrata_capture::manifest::Device;
use rustc_hash::FxHashMap;

use crate::host::stack;

/// Stacking depth by device number. A number keeps its first depth, so that all rows of a capture agree. New devices are
/// looked up at their first request.
pub struct Levels {
    known: FxHashMap<i32, Option<i32>>,
    /// Cached device: requests of one device arrive in runs.
    last: Option<(i32, Option<i32>)>,
    look_up: fn(i32) -> Option<i32>,
}

/// Current stacking depth of a device, from /sys.
fn from_sys(dev: i32) -> Option<i32> {
    stack::level(&stack::disk_of(dev)?, &stack::below)
}

impl Levels {
    /// Starts with the depths of `devices`; others are added on first use.
    pub fn new(devices: &[Device]) -> Levels {
        let known = devices.iter().map(|device| (device.dev, device.level)).collect();
        Levels { known, last: None, look_up: from_sys }
    }

    /// Stacking depth of device `dev`; `None` if unknown.
    #[inline]
    pub fn of(&mut self, dev: i32) -> Option<i32> {
        match self.last {
            Some((last, level)) if last == dev => level,
            _ => self.find(dev),
        }
    }

    fn find(&mut self, dev: i32) -> Option<i32> {
        let look_up = self.look_up;
        let level = *self.known.entry(dev).or_insert_with(|| look_up(dev));
        self.last = Some((dev, level));
        level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_appears_later_is_looked_up_once_and_what_is_gone_is_not_known() {
        let device = |dev, level| Device { dev, level, ..Device::default() };
        let mut levels = Levels::new(&[device(1, Some(0)), device(2, Some(1)), device(3, None)]);
        levels.look_up = |dev| (dev == 4).then_some(2);
        let asked = [1, 1, 2, 3, 4, 5, 4, 1];
        assert_eq!(asked.map(|dev| levels.of(dev)), [Some(0), Some(0), Some(1), None, Some(2), None, Some(2), Some(0)]);
        levels.look_up = |_| Some(9);
        assert_eq!([4, 5].map(|dev| levels.of(dev)), [Some(2), None]);
    }
}
