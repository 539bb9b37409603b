//! One stream of batches for several sinks.

use super::{Batch, Sink, Whole};

/// Hands every batch to a keeper, whose answer counts in the books, and to views, which take what they have room for and
/// see to their own misses.
pub struct Tee {
    keeper: Box<dyn Sink>,
    views: Vec<Box<dyn Sink>>,
}

impl Tee {
    /// A tee of these.
    pub fn new(keeper: Box<dyn Sink>, views: Vec<Box<dyn Sink>>) -> Self {
        Tee { keeper, views }
    }

    fn show(&mut self, batch: &Batch) {
        for view in &mut self.views {
            // The columns are shared, not copied. What a view refuses is not lost: the keeper is asked all the same.
            let _ = view.offer(batch.clone());
        }
    }
}

impl Sink for Tee {
    fn offer(&mut self, batch: Batch) -> Result<(), Batch> {
        self.show(&batch);
        self.keeper.offer(batch)
    }

    /// Waits for the keeper only.
    fn put(&mut self, batch: Batch) -> Result<(), Batch> {
        self.show(&batch);
        self.keeper.put(batch)
    }

    fn end_flush(&mut self) {
        self.keeper.end_flush();
        self.views.iter_mut().for_each(|view| view.end_flush());
    }

    fn make_durable(&mut self, whole: Option<Whole>) {
        self.keeper.make_durable(whole);
    }
}
