"""Operations by time and duration, and requests by time and device offset, against DuckDB."""

import csv

import duckdb
import pytest
from conftest import ROOT, analyze

OPS = {"read": ("read", "pread64", "readv", "preadv"), "write": ("write", "pwrite64", "writev", "pwritev", "flush")}


@pytest.fixture(scope="module")
def capture(generate):
    return generate("--events", 200_000, "--files", 500, "--part-size", "128KiB")


@pytest.fixture(scope="module")
def heatmap(capture, tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    result = analyze("heatmap", capture, "--out", out, "--threads", 3)
    assert result.returncode == 0, result.stderr

    def rows(name):
        with open(out / name, newline="") as lines:
            return list(csv.DictReader(lines))
    return rows("heatmap_latency.csv"), rows("heatmap_offset.csv"), result.stdout


@pytest.mark.parametrize("layer", ["syscall", "vfs", "block"])
@pytest.mark.parametrize("way", ["read", "write"])
def test_cells_of_durations_are_duckdbs(layer, way, capture, heatmap):
    rows = [row for row in heatmap[0] if (row["layer"], row["direction"]) == (layer, way)]
    (width,) = {int(row["window_ns"]) for row in heatmap[0]}
    windows = {int(row["since_ns"]) // width for row in heatmap[0]}
    assert 250 <= max(windows) - min(windows) < 1000
    size = "bytes" if layer == "block" else "greatest(ret, 0)"
    # Four classes per power of two: two more bits after the first.
    first = "greatest(floor(log2(greatest(dur_ns, 1)))::bigint - 2, 0)"
    found = duckdb.sql(f"""select ts_ns // {width} * {width}, (dur_ns >> {first}) << {first}, count(*), sum({size})::bigint
        from read_parquet('{capture}/{layer}/*.parquet') where op in {OPS[way]} and dur_ns is not null group by all""").fetchall()
    mine = {(int(row["since_ns"]), int(row["from_ns"])): (int(row["ops"]), int(row["bytes"])) for row in rows}
    assert mine == {(since, least): (ops, size) for since, least, ops, size in found} and len(mine) > 1000
    for row in rows:
        least, most = int(row["from_ns"]), int(row["to_ns"])
        assert least <= most < max(least * 5 / 4, 8)


def test_cells_of_places_are_duckdbs(capture, heatmap):
    rows = heatmap[1]
    width = int(rows[0]["window_ns"])
    stretches = {row["id"]: int(row["stretch_bytes"]) for row in rows}
    for disk, stretch in stretches.items():
        major, minor = map(int, disk.split(":"))
        dev = major << 20 | minor
        for way in OPS:
            found = duckdb.sql(f"""select ts_ns // {width} * {width}, sector * 512 // {stretch} * {stretch}, count(*), sum(bytes)::bigint
                from read_parquet('{capture}/block/*.parquet') where op in {OPS[way]} and dev = {dev} and sector is not null group by all""").fetchall()
            mine = {(int(row["since_ns"]), int(row["from_bytes"])): (int(row["ops"]), int(row["bytes"]))
                    for row in rows if (row["id"], row["direction"]) == (disk, way)}
            assert mine == {(since, place): (ops, size) for since, place, ops, size in found} and len(mine) > 500
            assert 100 < max(place for _, place in mine) // stretch < 512


def test_what_is_drawn_has_the_slowest_at_the_top(heatmap):
    text = heatmap[2]
    assert "block read: up to " in text and "block write: up to " in text and "█" in text
    lines = [line for line in text.splitlines() if " │" in line]
    assert len(lines) > 10 and all(len(line) <= 90 for line in lines)


def test_the_same_by_any_number_of_threads_and_of_a_real_capture(capture, tmp_path):
    for name, of in (("generated", capture), ("fixture", ROOT / "tests/fixtures/debian-6.12-nvme")):
        written = []
        for threads in (1, 4):
            out = tmp_path / f"{name}{threads}"
            assert analyze("heatmap", of, "--out", out, "--threads", threads).returncode == 0
            written.append([(out / table).read_bytes() for table in ("heatmap_latency.csv", "heatmap_offset.csv")])
        assert written[0] == written[1] and all(len(table.splitlines()) > 20 for table in written[0])
