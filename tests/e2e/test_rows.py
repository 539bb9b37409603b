"""Rows of a recording compared with the rows written, by independent means: pyarrow reads the metadata of parts, and filters one."""

import csv
import os
import shutil

from conftest import analyze, parts_of


def rows_check(capture, out):
    """Returns the exit code of `quality`, and its finding on the rows."""
    result = analyze("quality", capture, "--out", out)
    with open(out / "quality.csv", newline="") as file:
        [row] = [row for row in csv.DictReader(file) if row["check"] == "rows"]
    return result.returncode, row["verdict"], row["found"]


def test_each_part_of_a_recording_says_what_it_is_and_rows_that_are_gone_or_there_twice_are_told(disk, record, tmp_path):
    from pyarrow import parquet

    recorder = record("--device", disk.name, "--rotate-interval", "1s")
    for number in range(3):
        (disk.mount / f"file{number}").write_bytes(bytes(1 << 20))
        os.sync()
        recorder.process.send_signal(1)  # SIGHUP: the open parts are closed.
    capture = recorder.stop()
    capture.check_books()
    listed, _ = parts_of(capture.directory)
    assert len(listed) >= 9 and capture.manifest["parts_id"] == capture.manifest["capture_id"]
    for part in listed:
        keys = parquet.read_metadata(capture.directory / part["file"]).metadata
        told = [keys[b"iostrata." + key].decode() for key in (b"capture", b"table", b"part")]
        assert told == [capture.manifest["capture_id"], part["table"], str(int(part["file"][-14:-8]))], part
    assert rows_check(capture.directory, tmp_path / "out")[1] == "good"

    # pyarrow keeps the footer metadata; so does a copy.
    block = max((part for part in listed if part["table"] == "block"), key=lambda part: part["rows"])
    written = sum(part["rows"] for part in listed if part["table"] == "block")
    filtered = shutil.copytree(capture.directory, tmp_path / "filtered")
    table = parquet.read_table(filtered / block["file"])
    columns = [parquet.read_metadata(filtered / block["file"]).row_group(0).column(index) for index in range(table.num_columns)]
    words = [column.path_in_schema for column in columns if any("DICTIONARY" in encoding for encoding in column.encodings)]
    parquet.write_table(table.slice(1), filtered / block["file"], compression="zstd", use_dictionary=words)
    code, verdict, found = rows_check(filtered, tmp_path / "out")
    assert (code, verdict) == (3, "bad") and f"block: {written - 1} of {written} rows present" in found, found
    copied = shutil.copytree(capture.directory, tmp_path / "copied")
    shutil.copy(copied / block["file"], copied / "block/part-000099.parquet")
    code, verdict, found = rows_check(copied, tmp_path / "out")
    assert (code, verdict) == (3, "bad") and f"block/part-000099.parquet is a copy of {block['file']}" in found, found
    # Present rows are analyzed on request: all but one of the filtered part, and no total.
    result = analyze("summary", filtered, "--partial-rows", "--out", tmp_path / "out")
    assert result.returncode == 3 and f"block: {written - 1} of {written} rows present" in result.stdout, result.stdout
    with open(tmp_path / "out/summary.csv", newline="") as file:
        rows = {row["system"]: row for row in csv.DictReader(file)}
    ops = sum(int(row["block_read_ops"]) + int(row["block_write_ops"]) for system, row in rows.items() if system != "(total)")
    assert ops > 0 and rows["(total)"]["block_write_ops"] == "" == rows["(total)"]["syscall_write_ops"]
