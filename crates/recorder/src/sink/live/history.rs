//! Texts that hold from some time on, by key, in bounded memory.

use std::hash::Hash;
use std::sync::Arc;

use rustc_hash::FxHashMap;

/// Texts with the times from which they hold.
type Spans = Vec<(i64, Arc<str>)>;

/// Last texts of each key. When a generation is full, the keys not looked up since the previous time are evicted.
pub struct History<K> {
    /// Number of keys in one generation.
    generation: usize,
    /// Number of texts per key: a flush may have rows from before and after a new one.
    spans: usize,
    young: FxHashMap<K, Spans>,
    old: FxHashMap<K, Spans>,
}

impl<K: Copy + Eq + Hash> History<K> {
    /// Starts without any key.
    pub fn new(generation: usize, spans: usize) -> Self {
        History { generation, spans, young: FxHashMap::default(), old: FxHashMap::default() }
    }

    /// Adds a text that holds from `from_ns` on.
    pub fn add(&mut self, key: K, from_ns: i64, text: Arc<str>) {
        let most = self.spans;
        let spans = self.spans_of(key);
        let place = spans.partition_point(|(from, _)| *from <= from_ns);
        spans.insert(place, (from_ns, text));
        if spans.len() > most {
            spans.remove(0);
        }
    }

    /// Text of a key at `ts_ns`: the last one from that time or before, or the first one if all are later; none if the key is unknown.
    pub fn at(&mut self, key: K, ts_ns: i64) -> Option<Arc<str>> {
        if !self.young.contains_key(&key) && !self.old.contains_key(&key) {
            return None;
        }
        let spans = self.spans_of(key);
        let after = spans.partition_point(|(from, _)| *from <= ts_ns);
        spans.get(after.saturating_sub(1)).map(|(_, text)| Arc::clone(text))
    }

    /// Entry of a key, moved to the young generation.
    fn spans_of(&mut self, key: K) -> &mut Spans {
        if !self.young.contains_key(&key) {
            let known = self.old.remove(&key).unwrap_or_default();
            if self.young.len() >= self.generation {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(key, known);
        }
        self.young.entry(key).or_default()
    }

    /// Number of keys in memory.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}
