//! Event accounting as text. Sums saturate, because a manifest may have any values.

use std::collections::HashMap;

use iostrata_capture::ledger::{Account, EventAccounting, Lost};

fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

/// Returns the number of events lost in all classes, skipped programs included.
pub fn lost(books: &EventAccounting) -> u64 {
    let counted = sum(books.accounts.iter().map(|account| account.lost.total()));
    sum([counted, sum(books.skipped.iter().map(|skipped| skipped.recursion))].into_iter())
}

/// Formats losses: `syscall 3 ring_full; block 1 channel_full; program iostrata_sys_enter skipped 2 times`.
pub fn by_class(books: &EventAccounting) -> String {
    let mut lines = Vec::new();
    for (class, accounts) in classes(books) {
        let mut lost = Lost::default();
        accounts.iter().for_each(|account| lost.add(&account.lost));
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

/// Returns a line for each class with events that are neither recorded nor counted as lost.
pub fn unbalanced(books: &EventAccounting) -> impl Iterator<Item = String> {
    let unbalanced = |(_, of): &(&str, Vec<&Account>)| !of.iter().all(|account| account.balanced());
    classes(books).into_iter().filter(unbalanced).map(|(class, accounts)| {
        let of = |count: fn(&Account) -> u64| sum(accounts.iter().map(|account| count(account)));
        format!(
            "event accounting of {class} is inconsistent: {} seen, but {} recorded and {} lost",
            of(|a| a.seen),
            of(|a| a.written),
            of(|a| a.lost.total())
        )
    })
}

/// Returns the classes and their accounts, in order of first appearance.
fn classes(books: &EventAccounting) -> Vec<(&str, Vec<&Account>)> {
    let mut classes: Vec<(&str, Vec<&Account>)> = Vec::new();
    let mut places = HashMap::new();
    for account in &books.accounts {
        let place = *places.entry(account.class.as_str()).or_insert(classes.len());
        match classes.get_mut(place) {
            Some((_, accounts)) => accounts.push(account),
            None => classes.push((&account.class, vec![account])),
        }
    }
    classes
}
