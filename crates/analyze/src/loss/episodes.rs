//! Time ranges with losses. Adjacent ranges are joined, and their number is limited.

use std::collections::BTreeSet;

/// Maximum number of CPUs of a range, more than any kernel has: a capture may name any number.
const MOST_CPUS: usize = 8_192;

/// Time range with lost events: after `since_ns`, and until `until_ns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Nanoseconds since the Unix epoch.
    pub since_ns: i64,
    /// Nanoseconds since the Unix epoch, not before `since_ns`.
    pub until_ns: i64,
    /// Number of lost events.
    pub events: u64,
    /// CPUs on which they completed.
    pub cpus: BTreeSet<i32>,
    /// Number of separate ranges that it was joined from: more than one if there were too many to keep.
    pub times: u64,
}

impl Stretch {
    /// Creates the range of one row.
    pub fn new(since_ns: i64, until_ns: i64, events: u64, cpu: i32) -> Stretch {
        Stretch { since_ns, until_ns, events, cpus: BTreeSet::from([cpu]), times: 1 }
    }

    fn take(&mut self, other: Stretch) {
        self.since_ns = self.since_ns.min(other.since_ns);
        self.until_ns = self.until_ns.max(other.until_ns);
        self.events = self.events.saturating_add(other.events);
        self.cpus.extend(other.cpus);
        while self.cpus.len() > MOST_CPUS {
            self.cpus.pop_last();
        }
    }
}

/// Ranges that do not touch, ascending.
#[derive(Debug, Clone)]
pub struct Episodes {
    most: usize,
    all: Vec<Stretch>,
}

impl Episodes {
    /// Creates an empty list that keeps at most `most` ranges.
    pub fn new(most: usize) -> Episodes {
        Episodes { most, all: Vec::new() }
    }

    /// Adds a range and joins it with those that it touches.
    pub fn add(&mut self, mut stretch: Stretch) {
        // No two ranges touch, so begins and ends are both ascending.
        let first = self.all.partition_point(|of| of.until_ns < stretch.since_ns);
        let after = self.all.partition_point(|of| of.since_ns <= stretch.until_ns).max(first);
        for touched in self.all.splice(first..after, []) {
            stretch.times = stretch.times.saturating_add(touched.times).saturating_sub(1);
            stretch.take(touched);
        }
        self.all.insert(first, stretch);
        // Twice the limit, so that this does not run for each new range.
        if self.all.len() > self.most.saturating_mul(2) {
            self.thin();
        }
    }

    /// Returns the ranges.
    pub fn finish(mut self) -> Vec<Stretch> {
        self.thin();
        self.all
    }

    /// Joins neighbours until the number is within the limit, first those that span the shortest time together. Joining by gaps alone would turn a
    /// loss that recurs every minute into one long range and the last few. It takes several rounds, so that a joined range is not the shortest of
    /// the same round; in each round a range joins at most one other.
    fn thin(&mut self) {
        loop {
            let too_many = self.all.len().saturating_sub(self.most.max(1));
            if too_many == 0 {
                return;
            }
            let mut left = too_many.min(self.all.len() / 8 + 1);
            let together =
                |(before, pair): (usize, &[Stretch])| (pair[1].until_ns.abs_diff(pair[0].since_ns), before + 1);
            let mut pairs: Vec<(u64, usize)> = self.all.windows(2).enumerate().map(together).collect();
            pairs.sort_unstable();
            // By position: whether it joins the previous one, and whether it is in a pair.
            let mut joined = vec![false; self.all.len()];
            let mut paired = joined.clone();
            for (_, place) in pairs {
                if left > 0 && !paired[place - 1] && !paired[place] {
                    (joined[place], paired[place - 1], paired[place]) = (true, true, true);
                    left -= 1;
                }
            }
            self.join(&joined);
        }
    }

    fn join(&mut self, joined: &[bool]) {
        let mut kept: Vec<Stretch> = Vec::with_capacity(self.all.len());
        for (stretch, joined) in std::mem::take(&mut self.all).into_iter().zip(joined) {
            match kept.last_mut() {
                Some(last) if *joined => {
                    last.times = last.times.saturating_add(stretch.times);
                    last.take(stretch);
                }
                _ => kept.push(stretch),
            }
        }
        self.all = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(most: usize, rows: &[(i64, i64, u64, i32)]) -> Vec<Stretch> {
        let mut episodes = Episodes::new(most);
        rows.iter().for_each(|(since, until, events, cpu)| episodes.add(Stretch::new(*since, *until, *events, *cpu)));
        episodes.finish()
    }

    fn times(stretches: &[Stretch]) -> Vec<(i64, i64, u64, u64)> {
        stretches.iter().map(|of| (of.since_ns, of.until_ns, of.events, of.times)).collect()
    }

    #[test]
    fn neighbouring_seconds_become_one_and_others_stay_apart() {
        let stretches = of(9, &[(0, 1, 5, 0), (0, 1, 2, 3), (1, 2, 1, 0), (3, 4, 7, 1), (9, 9, 1, 1)]);
        assert_eq!(times(&stretches), [(0, 2, 8, 1), (3, 4, 7, 1), (9, 9, 1, 1)]);
        assert_eq!(stretches[0].cpus, BTreeSet::from([0, 3]));
    }

    #[test]
    fn of_too_many_the_nearest_are_joined_and_it_is_told() {
        let rows = [(0, 1, 1, 0), (10, 11, 1, 0), (13, 14, 1, 0), (90, 91, 1, 0), (95, 96, 1, 0)];
        assert_eq!(times(&of(3, &rows)), [(0, 1, 1, 1), (10, 14, 2, 2), (90, 96, 2, 2)]);
        assert_eq!(times(&of(1, &rows)), [(0, 96, 5, 5)]);
        assert_eq!(of(0, &rows).len(), 1);
    }

    #[test]
    fn a_loss_that_comes_back_all_the_time_is_as_fine_everywhere() {
        let rows: Vec<(i64, i64, u64, i32)> = (0..10_000).map(|i| (60 * i, 60 * i + 1, 1, 0)).collect();
        let stretches = of(100, &rows);
        assert!(stretches.len() > 50 && stretches.iter().all(|of| of.times <= 400), "{:?}", times(&stretches));
    }

    fn rows() -> impl Strategy<Value = Vec<(i64, i64, u64, i32)>> {
        let row = (0..2_000i64, 0..20i64, 1..50u64, 0..4i32);
        prop::collection::vec(row.prop_map(|(since, long, events, cpu)| (since, since + long, events, cpu)), 0..200)
    }

    proptest! {
        #[test]
        fn nothing_is_cut_and_no_more_are_kept_than_are_asked_for(rows in rows(), most in 1..20usize) {
            let stretches = of(most, &rows);
            prop_assert!(stretches.len() <= most);
            prop_assert_eq!(stretches.iter().map(|of| of.events).sum::<u64>(), rows.iter().map(|row| row.2).sum::<u64>());
            prop_assert!(stretches.windows(2).all(|pair| pair[0].until_ns < pair[1].since_ns));
            for (since, until, _, cpu) in rows {
                let within = |of: &&Stretch| of.since_ns <= since && until <= of.until_ns && of.cpus.contains(&cpu);
                prop_assert_eq!(stretches.iter().filter(within).count(), 1);
            }
        }

        #[test]
        fn the_order_of_rows_changes_nothing_where_all_are_kept(rows in rows()) {
            let mut backwards = rows.clone();
            backwards.reverse();
            prop_assert_eq!(of(1_000, &rows), of(1_000, &backwards));
        }
    }
}
