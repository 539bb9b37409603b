//! Attribution cache: results of lookups, with the periods in which they are valid. Most rows have the owner and entities of previous rows.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

/// Values by key. The hash is randomly keyed: the author of a capture cannot construct keys that collide.
pub struct AttributionCache<K, V>(HashMap<K, Entry<V>, RandomState>);

/// Initial capacity: most captures have more entries, and a growing table is rewritten each time.
const EXPECTED: usize = 1 << 14;

struct Entry<V> {
    /// First and last moment of validity.
    held: (i64, i64),
    value: V,
}

impl<K: Eq + Hash, V: Copy> AttributionCache<K, V> {
    /// Creates an empty cache.
    pub fn new() -> Self {
        AttributionCache(HashMap::with_capacity_and_hasher(EXPECTED, RandomState::default()))
    }

    /// Returns the number of cached values.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the value of `key` at `ts_ns`, if cached.
    #[inline]
    pub fn get(&self, key: &K, ts_ns: i64) -> Option<V> {
        let Entry { held: (from_ns, last_ns), value } = self.0.get(key)?;
        (*from_ns..=*last_ns).contains(&ts_ns).then_some(*value)
    }

    /// Caches a value of `key`, and discards the previous one.
    pub fn put(&mut self, key: K, held: (i64, i64), value: V) {
        self.0.insert(key, Entry { held, value });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_asked_for_anew_when_it_does_not_hold_any_more() {
        let mut remembered = AttributionCache::new();
        let mut asked = 0;
        for (key, ts_ns, value) in [(1, 5, 10), (1, 9, 10), (1, 10, 20), (1, 5, 10), (2, 5, 30), (1, 5, 10)] {
            let found = remembered.get(&key, ts_ns).unwrap_or_else(|| {
                asked += 1;
                remembered.put(key, if ts_ns < 10 { (i64::MIN, 9) } else { (10, i64::MAX) }, value);
                value
            });
            assert_eq!(found, value, "{key} at {ts_ns}");
        }
        // The second and the last are cached.
        assert_eq!(asked, 4);
    }
}
