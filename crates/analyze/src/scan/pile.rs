//! What is gathered before it is known how much it will be.

/// So many things lie together: some tens of kilobytes, which the allocator keeps.
const TOGETHER: usize = 512;

/// Things in the order in which they came. A vector that grows is moved again and again, and half of it is empty.
#[derive(Debug)]
pub struct Pile<T>(Vec<Vec<T>>);

impl<T> Default for Pile<T> {
    fn default() -> Self {
        Pile(Vec::new())
    }
}

impl<T> Pile<T> {
    /// Adds one.
    #[inline]
    pub fn push(&mut self, thing: T) {
        match self.0.last_mut().filter(|last| last.len() < TOGETHER) {
            Some(last) => last.push(thing),
            None => {
                // Most piles are large or nothing at all.
                let mut last = Vec::with_capacity(TOGETHER);
                last.push(thing);
                self.0.push(last);
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * TOGETHER + last.len())
    }

    /// All of them.
    pub fn into_vec(self) -> Vec<T> {
        let mut all = Vec::with_capacity(self.len());
        self.0.into_iter().for_each(|more| all.extend(more));
        all
    }

    /// Each of them.
    pub fn into_iter(self) -> impl Iterator<Item = T> {
        self.0.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pile_has_all_in_order() {
        for count in [0, 1, TOGETHER - 1, TOGETHER, TOGETHER + 1, 5 * TOGETHER] {
            let (mut pile, mut other) = (Pile::default(), Pile::default());
            (0..count).for_each(|thing| {
                pile.push(thing);
                other.push(thing);
            });
            assert_eq!(pile.len(), count);
            assert!(pile.into_vec().into_iter().eq(0..count) && other.into_iter().eq(0..count));
        }
    }
}
