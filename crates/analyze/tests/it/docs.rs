//! `docs/reference/schema.md` and `docs/reference/csv.md` match the declarations.

use std::collections::BTreeSet;
use std::path::Path;

use iostrata_analyze::analyses::REPORT;
use iostrata_analyze::schema;

#[test]
fn the_documentation_of_tables_is_up_to_date() {
    for (name, generated) in [("schema.md", schema::captures()), ("csv.md", schema::results())] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &generated).expect("writable");
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(stored == generated, "docs/reference/{name} is out of date: run the tests once with UPDATE_DOCS=1");
    }
}

#[test]
fn every_column_of_a_result_is_documented_and_named_once() {
    for table in REPORT.all_tables() {
        let columns = (table.columns)();
        let rows: Vec<Vec<&str>> = columns.lines().skip(2).map(|line| line.split(" | ").collect()).collect();
        let names: BTreeSet<&str> = rows.iter().map(|row| row[0]).collect();
        assert!(names.len() == rows.len() && !rows.is_empty(), "{table:?}");
        for row in &rows {
            assert!(row.len() == 3 && row[2].ends_with(". |"), "{table:?}: {row:?}");
        }
        assert!(table.doc.ends_with('.'), "{table:?}");
    }
    let files: BTreeSet<String> = REPORT.all_tables().into_iter().map(|table| table.file()).collect();
    assert_eq!(files.len(), REPORT.all_tables().len());
}
