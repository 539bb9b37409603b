//! `docs/schema.md` is what the declarations say.

use std::path::Path;

#[test]
fn the_schema_documentation_is_up_to_date() {
    let generated = iostrata_analyze::schema::markdown();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &generated).expect("writable");
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == generated, "docs/schema.md is out of date: run the tests once with UPDATE_DOCS=1");
}

#[test]
fn every_column_of_a_result_is_documented_and_named_once() {
    let summary = iostrata_analyze::summary::columns(Default::default());
    let latency = iostrata_analyze::latency::columns();
    let summary: Vec<_> = summary.iter().map(|c| (&c.name, &c.doc)).collect();
    let latency: Vec<_> = latency.iter().map(|c| (&c.name, &c.doc)).collect();
    let loss = iostrata_analyze::loss::report::columns();
    let loss: Vec<_> = loss.iter().map(|c| (&c.name, &c.doc)).collect();
    for columns in [summary, latency, loss] {
        let mut names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), columns.len());
        for (name, doc) in columns {
            assert!(doc.ends_with('.') && !doc.contains('|'), "{name}: {doc}");
        }
    }
}
