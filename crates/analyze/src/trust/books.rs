//! The loss ledger, in words. Sums stop at the greatest value: a manifest may claim anything.

use iostrata_capture::ledger::{Account, Books, Lost};

fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

/// Events lost over all classes, skipped programs included.
pub fn lost(books: &Books) -> u64 {
    let counted = sum(books.accounts.iter().map(|account| account.lost.total()));
    sum([counted, sum(books.skipped.iter().map(|skipped| skipped.recursion))].into_iter())
}

/// What was lost: `syscall 3 ring_full; block 1 channel_full; program iostrata_sys_enter skipped 2 times`.
pub fn by_class(books: &Books) -> String {
    let mut lines = Vec::new();
    for class in classes(books) {
        let mut lost = Lost::default();
        accounts(books, class).for_each(|account| lost.add(&account.lost));
        let causes: Vec<String> =
            lost.by_cause().iter().filter(|(_, n)| *n > 0).map(|(cause, n)| format!("{n} {cause}")).collect();
        if !causes.is_empty() {
            lines.push(format!("{class} {}", causes.join(", ")));
        }
    }
    let skipped = books.skipped.iter().filter(|skipped| skipped.recursion > 0);
    lines.extend(skipped.map(|s| format!("program {} skipped {} times", s.program, s.recursion)));
    lines.join("; ")
}

/// A line for each class of which events are neither written nor counted as lost.
pub fn unbalanced(books: &Books) -> impl Iterator<Item = String> {
    classes(books).into_iter().filter(|class| !accounts(books, class).all(Account::balanced)).map(|class| {
        let of = |count: fn(&Account) -> u64| sum(accounts(books, class).map(count));
        format!(
            "the books of {class} do not balance: {} seen, but {} written and {} lost",
            of(|a| a.seen),
            of(|a| a.written),
            of(|a| a.lost.total())
        )
    })
}

/// The classes, in order of first appearance.
fn classes(books: &Books) -> Vec<&str> {
    let mut classes: Vec<&str> = Vec::new();
    for account in &books.accounts {
        if !classes.contains(&account.class.as_str()) {
            classes.push(&account.class);
        }
    }
    classes
}

fn accounts<'a>(books: &'a Books, class: &'a str) -> impl Iterator<Item = &'a Account> {
    books.accounts.iter().filter(move |account| account.class == class)
}
