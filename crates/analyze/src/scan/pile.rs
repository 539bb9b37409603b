//! Collections of unknown final size.

/// Number of items per block: some tens of kilobytes, which the allocator keeps.
const TOGETHER: usize = 512;

/// Items in order of arrival, in blocks. A growing vector would be moved repeatedly, and half of it would be empty.
#[derive(Debug)]
struct Pile<T>(Vec<Vec<T>>);

impl<T> Default for Pile<T> {
    fn default() -> Self {
        Pile(Vec::new())
    }
}

impl<T> Pile<T> {
    /// Adds an item.
    #[inline]
    fn push(&mut self, thing: T) {
        match self.0.last_mut().filter(|last| last.len() < TOGETHER) {
            Some(last) => last.push(thing),
            None => {
                // With many sources each may have few items.
                let mut last = if self.0.is_empty() { Vec::new() } else { Vec::with_capacity(TOGETHER) };
                last.push(thing);
                self.0.push(last);
            }
        }
    }

    /// Returns the number of items.
    fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * TOGETHER + last.len())
    }

    /// Iterates over the items.
    fn each(self) -> impl Iterator<Item = T> {
        self.0.into_iter().flatten()
    }
}

/// Number of the row groups that are being read. Ascending numbers are the order of otherwise equal items.
pub type Source = u64;

/// Items by source. Sources can be read in any order; the result is in the order of their numbers.
#[derive(Debug)]
pub struct BySource<T>(Vec<(Source, Pile<T>)>);

impl<T> Default for BySource<T> {
    fn default() -> Self {
        BySource(Vec::new())
    }
}

impl<T> BySource<T> {
    /// Adds an item.
    #[inline]
    pub fn push(&mut self, source: Source, thing: T) {
        match self.0.last_mut().filter(|(last, _)| *last == source) {
            Some((_, pile)) => pile.push(thing),
            None => {
                let mut pile = Pile::default();
                pile.push(thing);
                self.0.push((source, pile));
            }
        }
    }

    /// Returns all items in the order of their sources, and within a source in order of arrival.
    pub fn in_order<U>(mut self, of: impl Fn(T) -> U) -> Vec<U> {
        self.0.sort_by_key(|(source, _)| *source);
        let mut all = Vec::with_capacity(self.0.iter().map(|(_, pile)| pile.len()).sum());
        self.0.into_iter().for_each(|(_, pile)| all.extend(pile.each().map(&of)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pile_has_all_in_order() {
        for count in [0, 1, TOGETHER - 1, TOGETHER, TOGETHER + 1, 5 * TOGETHER] {
            let mut pile = Pile::default();
            (0..count).for_each(|thing| pile.push(thing));
            assert_eq!(pile.len(), count);
            assert!(pile.each().eq(0..count));
        }
    }

    #[test]
    fn things_are_in_the_order_of_their_sources() {
        let mut piles = BySource::default();
        for (source, thing) in [(3, 'e'), (1, 'a'), (1, 'b'), (2, 'd'), (3, 'f'), (1, 'c')] {
            piles.push(source, thing);
        }
        assert_eq!(piles.in_order(|thing| thing).iter().collect::<String>(), "abcdef");
    }
}
