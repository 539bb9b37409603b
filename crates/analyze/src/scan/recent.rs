//! What was looked up last. Most rows are of whom, and of what, one of the last was.

/// Values by key, for the times for which they are known to hold: `2^BITS` of them, of which each has one place where it can be.
pub struct Recent<K, V, const BITS: u32>(Vec<Option<Entry<K, V>>>);

struct Entry<K, V> {
    key: K,
    from_ns: i64,
    last_ns: i64,
    value: V,
}

impl<K: Copy + Eq, V: Copy, const BITS: u32> Recent<K, V, BITS> {
    /// Nothing yet.
    pub fn new() -> Self {
        Recent((0..1 << BITS).map(|_| None).collect())
    }

    /// The value of `key` at `ts_ns`: one that is remembered, or what `find` says, with the first and the last moment at which that
    /// holds. Keys that differ should differ in `hint`.
    #[inline]
    pub fn at(&mut self, hint: u64, key: K, ts_ns: i64, find: impl FnOnce() -> (V, (i64, i64))) -> V {
        // Fibonacci hashing: the highest bits depend on all of the hint's.
        let place = (hint.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS)) as usize;
        let entry = &mut self.0[place];
        if let Some(known) = entry
            && known.key == key
            && (known.from_ns..=known.last_ns).contains(&ts_ns)
        {
            return known.value;
        }
        let (value, (from_ns, last_ns)) = find();
        *entry = Some(Entry { key, from_ns, last_ns, value });
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_asked_for_anew_when_it_does_not_hold_any_more_or_another_took_its_place() {
        let mut recent = Recent::<_, _, 4>::new();
        let mut asked = 0;
        // All of one place: the hint is the same.
        for (key, ts_ns, value) in [(1, 5, 10), (1, 9, 10), (1, 10, 20), (1, 5, 10), (2, 5, 30), (1, 5, 10)] {
            let found = recent.at(0, key, ts_ns, || {
                asked += 1;
                (value, if ts_ns < 10 { (i64::MIN, 9) } else { (10, i64::MAX) })
            });
            assert_eq!(found, value, "{key} at {ts_ns}");
        }
        assert_eq!(asked, 5);
    }
}
