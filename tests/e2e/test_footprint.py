"""Blocks touched, against DuckDB, and for a known workload."""

import csv
import json
import subprocess

import duckdb
import pytest
from conftest import analyze, require

OPS = {"read": ("read", "pread64", "readv", "preadv"), "write": ("write", "pwrite64", "writev", "pwritev", "flush")}
SPACE = {"syscall": "dev || ':' || ino", "vfs": "dev || ':' || ino", "block": "dev"}


@pytest.fixture(scope="module")
def capture(generate):
    return generate("--events", 200_000, "--files", 200, "--part-size", "128KiB")


def footprint(capture, out, *arguments):
    """Returns the rows of both tables."""
    result = analyze("footprint", capture, "--out", out, *arguments)
    assert result.returncode == 0, result.stderr

    def rows(name):
        with open(out / name, newline="") as lines:
            return list(csv.DictReader(lines))
    return rows("footprint.csv"), rows("footprint_windows.csv")


def touched(capture, layer):
    """Creates a view of all blocks that reads and writes touch, once for each access."""
    size, begin = ("bytes", "sector * 512") if layer == "block" else ("ret", "offset_bytes")
    data = "true" if layer == "block" else "fd_kind in ('regular', 'block')"
    connection = duckdb.connect()
    connection.execute(f"""create table touched as select ts_ns, way, dev, ({SPACE[layer]})::text as space,
        unnest(range({begin} // 4096, ({begin} + {size} + 4095) // 4096)) as number from (
            select *, case when op in {OPS['read']} then 'read' when op in {OPS['write']} then 'write' end as way
            from read_parquet('{capture}/{layer}/*.parquet'))
        where way is not null and {data} and {size} > 0 and {begin} is not null""")
    return connection


COUNTS = """count(*) filter (way = 'read'), count(*) filter (way = 'write'), count(distinct (space, number)) filter (way = 'read'),
    count(distinct (space, number)) filter (way = 'write'), count(distinct (space, number))"""


@pytest.mark.parametrize("layer", ["syscall", "vfs", "block"])
def test_blocks_are_duckdbs(layer, capture, tmp_path):
    rows, windows = footprint(capture, tmp_path / "exact", "--layer", layer, "--exact", "--threads", 3)
    connection = touched(capture, layer)
    expected = {"": connection.execute(f"select {COUNTS} from touched").fetchone()}
    if layer == "block":
        for dev, *counts in connection.execute(f"select dev, {COUNTS} from touched group by all").fetchall():
            expected[f"{dev >> 20}:{dev & 0xFFFFF}"] = tuple(counts)
    found = {row["id"]: row for row in rows if row["scope"] == "all" or (row["scope"] == "device" and layer == "block")}
    assert found.keys() == expected.keys()
    for of, counts in expected.items():
        row = found[of]
        names = ("read_blocks", "write_blocks", "unique_read_blocks", "unique_write_blocks", "unique_blocks")
        assert tuple(int(row[name]) for name in names) == counts and min(counts) > 100 and row["sampling_factor"] == "1"
        assert float(row["reread_share"]) == pytest.approx(1 - counts[2] / counts[0])
        assert float(row["overwrite_share"]) == pytest.approx(1 - counts[3] / counts[1])
        assert int(row["footprint_bytes"]) == counts[4] * 4096
    width = int(windows[0]["window_ns"])
    by_window = connection.execute(f"select ts_ns // {width} * {width}, {COUNTS} from touched group by all").fetchall()
    assert {int(row["since_ns"]): tuple(int(row[f"unique_{of}blocks"]) for of in ("read_", "write_", "")) for row in windows} == {
        since: tuple(counts) for since, _, _, *counts in by_window}
    assert 128 < len(windows) <= 512

    # With sampled blocks the results are equal where there is room for all, and close elsewhere; any number of threads gives the same
    # bytes.
    estimates, _ = footprint(capture, tmp_path / "one", "--layer", layer, "--threads", 1)
    footprint(capture, tmp_path / "five", "--layer", layer, "--threads", 5)
    for name in ("footprint.csv", "footprint_windows.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "five" / name).read_bytes()
    assert any(row["sampling_factor"] != "1" for row in estimates), "some are too many"
    for row, exact in zip(estimates, rows, strict=True):
        assert (row["read_blocks"], row["write_blocks"]) == (exact["read_blocks"], exact["write_blocks"])
        assert int(row["unique_blocks"]) == pytest.approx(int(exact["unique_blocks"]), rel=0 if row["sampling_factor"] == "1" else 0.03)
        for share in ("reread_share", "overwrite_share"):
            assert (row[share] == "") == (exact[share] == "")
            if row["scope"] == "all":
                assert float(row[share]) == pytest.approx(float(exact[share]), abs=0.05)


def test_a_workload_touches_what_it_was_told_to(disk, record, tmp_path):
    """A known workload has the expected footprint: 4 MiB read twice, and the first MiB of it written four times."""
    file = disk.mount / "file"
    file.write_bytes(bytes(4 << 20))
    disk.settle()
    recorder = record("--device", disk.name)
    for arguments in (("--rw=read", "--size=4M", "--loops=2"), ("--rw=write", "--io_size=4M", "--size=1M", "--loops=1", "--overwrite=1")):
        command = [require("fio"), "--name=known", f"--filename={file}", "--bs=64k", "--direct=1", "--fallocate=none", "--output-format=json", *arguments]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        job = json.loads(output[output.index("{"):])["jobs"][0]
        assert max(job["read"]["io_bytes"], job["write"]["io_bytes"]) == (8 << 20 if "--rw=read" in arguments else 4 << 20)
    rows, _ = footprint(recorder.stop().directory, tmp_path / "out", "--file", "*/file")
    of_calls, of_requests = [next(row for row in rows if (row["scope"], row["layer"]) == ("all", layer)) for layer in ("syscall", "block")]
    names = ("read_blocks", "write_blocks", "unique_read_blocks", "unique_write_blocks", "unique_blocks")
    assert [int(of_calls[name]) for name in names] == [2048, 1024, 1024, 256, 1024]
    assert (of_calls["reread_share"], of_calls["overwrite_share"], of_calls["footprint_bytes"]) == ("0.5", "0.75", str(4 << 20))
    # On the disk the file may begin within a block of 4 KiB, and each request then touches one more block.
    for name, exact, more in zip(names, (2048, 1024, 1024, 256, 1024), (128, 64, 4, 4, 4)):
        assert exact <= int(of_requests[name]) <= exact + more, name
    assert float(of_requests["overwrite_share"]) == pytest.approx(0.75, abs=0.03) and float(of_requests["reread_share"]) == pytest.approx(0.5, abs=0.05)


def stack_distances(touches):
    """Computes reuse distances in the direct, slow form: number of touches by power of two, and number of first touches."""
    stack, again, seen = [], {}, set()
    for block in touches:
        if block in seen:
            distance = stack[::-1].index(block) + 1
            size = 1 << (distance - 1).bit_length()
            again[size] = again.get(size, 0) + 1
            stack.remove(block)
        seen.add(block)
        stack.append(block)
    return again, len(stack)


@pytest.mark.parametrize("layer", ["syscall", "block"])
def test_distances_are_those_of_a_stack(layer, generate, tmp_path):
    small = generate("--events", 12_000, "--files", 20)
    footprint(small, tmp_path, "--layer", layer, "--exact")
    with open(tmp_path / "reuse.csv", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["scope"] == "all"]
    size, begin = ("bytes", "sector * 512") if layer == "block" else ("ret", "offset_bytes")
    data = "true" if layer == "block" else "fd_kind in ('regular', 'block')"
    touches = [(space, number) for space, first, end in duckdb.sql(f"""
        select ({SPACE[layer]})::text, {begin} // 4096, ({begin} + {size} + 4095) // 4096
        from read_parquet('{small}/{layer}/*.parquet', filename = true, file_row_number = true)
        where op in {OPS['read'] + OPS['write']} and {data} and {size} > 0 and {begin} is not null
        order by ts_ns, filename, file_row_number""").fetchall() for number in range(first, end)]
    numbers = {block: number for number, block in enumerate(dict.fromkeys(touches))}
    again, firsts = stack_distances([numbers[block] for block in touches])
    assert {int(row["cache_blocks"]): int(row["reuses"]) for row in rows if row["reuses"] != "0"} == again and len(again) > 5
    hits = 0
    for row in rows:
        hits += int(row["reuses"])
        assert (int(row["hits"]), int(row["touched_blocks"]), row["sampling_factor"]) == (hits, len(touches), "1")
        assert float(row["hit_share"]) == pytest.approx(hits / len(touches)) and int(row["cache_bytes"]) == 4096 * int(row["cache_blocks"])
    assert hits + firsts == len(touches)


def test_distances_of_some_blocks_are_near_those_of_all(capture, tmp_path):
    curves, touched = [], set()
    for arguments in (("--exact",), (), ("--threads", "1")):
        footprint(capture, tmp_path / str(len(curves)), "--layer", "block", *arguments)
        with open(tmp_path / str(len(curves)) / "reuse.csv", newline="") as lines:
            rows = [row for row in csv.DictReader(lines) if row["scope"] == "all"]
        touched |= {row["touched_blocks"] for row in rows}
        curves.append({int(row["cache_blocks"]): float(row["hit_share"]) for row in rows})
    exact, some, alone = curves
    assert rows[0]["sampling_factor"] != "1" and some == alone and len(touched) == 1
    assert len(some) > 5 and all(abs(share - exact[blocks]) < 0.03 for blocks, share in some.items() if blocks in exact)
