use super::*;

fn part(table: &str, bytes: u64, last_ts_ns: Option<i64>) -> Part {
    Part {
        table: table.to_owned(),
        file: format!("{table}/{bytes}"),
        rows: 10,
        bytes,
        first_ts_ns: last_ts_ns,
        last_ts_ns,
    }
}

fn manifest(parts: Vec<Part>) -> Manifest {
    let json = serde_json::json!({
        "schema_version": 1, "capture_id": "", "state": "complete", "started_at": "", "stopped_at": null, "stop_reason": null,
        "recorder_version": "", "command_line": [], "host": Host::default(), "clock": Clock::default(), "layers": {}, "probes": [],
        "filters": Filters::default(), "devices": [], "mounts": [], "books": Books::default(), "device_books": [], "parts": parts,
    });
    serde_json::from_value(json).expect("a manifest")
}

#[test]
fn the_oldest_events_go_first_and_names_stay_while_they_are_few() {
    let mut manifest = manifest(vec![
        part("process", 30, Some(1)),
        part("block", 50, Some(7)),
        part("syscall", 60, Some(5)),
        part("syscall", 70, None),
        part("file", 20, Some(2)),
    ]);
    assert_eq!(manifest.removed_until_ns(), None);
    let mut gone = Vec::new();
    while let Some(place) = manifest.oldest_part(50) {
        gone.push(manifest.remove_part(place).bytes);
    }
    assert_eq!(gone, [70, 60, 50]);
    assert_eq!(manifest.removed_until_ns(), Some(7));
    let syscall = Removed { table: "syscall".into(), parts: 2, rows: 20, bytes: 130, last_ts_ns: Some(5) };
    assert_eq!(manifest.removed[0], syscall);
    // More than they may be: now they go.
    let place = manifest.oldest_part(49).expect("too many");
    assert_eq!(manifest.remove_part(place).table, "process");
    assert_eq!(manifest.removed_until_ns(), Some(7), "an event lacks nothing but a name");
}
