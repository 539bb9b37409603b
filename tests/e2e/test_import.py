"""Published traces as captures: the analyzer's counts equal DuckDB's counts of the trace itself."""

import bz2
import csv
import json
import lzma
import random
import re
import struct
import subprocess
import zlib

import duckdb
import pytest
from conftest import BIN, analyze, require, run

# Column names, and the notation of one request of the trace.
FORMATS = {
    "msr": ("Timestamp, Hostname, DiskNumber, Type, Offset, Size, ResponseTime",
            lambda us, disk, write, sector, sectors, ns: (128166372000000000 + us * 10, "src1", disk, ["Read", "Write"][write], sector * 512, sectors * 512, ns // 100)),
    "alibaba": ("device_id, opcode, offset, length, timestamp",
                lambda us, disk, write, sector, sectors, ns: (disk, "RW"[write], sector * 512, sectors * 512, 1577808000000000 + us)),
    "tencent": ("Timestamp, Offset, Size, IOType, VolumeID",
                lambda us, disk, write, sector, sectors, ns: (1538323200 + us // 1_000_000, sector, sectors, int(write), disk)),
}


def requests(count=20_000):
    """Generates requests to three disks, in order of time."""
    rng, us = random.Random(1), 0
    for _ in range(count):
        us += rng.randrange(1, 400)
        yield us, rng.randrange(3), rng.random() < 0.4, rng.randrange(1 << 24) * 8, rng.choice((1, 8, 16, 128)), rng.randrange(100, 10_000_000, 100)


def write_trace(name, path, header=False):
    columns, line = FORMATS[name]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        if header:
            writer.writerow(columns.split(", "))
        writer.writerows(line(*request) for request in requests())


def imported(name, out, *files):
    return run(BIN / "iostrata-analyze", "import", "--format", name, "--out", out, *files)


def check_cut_off(result, capture, remark):
    """Checks that an import of a truncated trace reports the truncation, and that analyses of it do: the missing part is unknown, not zero."""
    assert result.returncode == 3 and result.stderr == "" and remark in result.stdout, result.stdout + result.stderr
    summary = analyze("summary", capture)
    assert summary.returncode == 3 and "was truncated" in summary.stderr, summary.stderr
    assert remark in json.loads((capture / "manifest.json").read_text())["layers"]["block"]["how"]
    assert re.search(r" recording +bad ", analyze("quality", capture).stdout)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("header", [False, True])
def test_what_is_in_a_trace_is_in_the_capture(name, header, tmp_path):
    trace, capture = tmp_path / "trace.csv", tmp_path / "capture"
    write_trace(name, trace, header)
    if header:
        command = [BIN / "iostrata-analyze", "import", "--format", name, "--out", capture, "-"]
        result = subprocess.run(command, stdin=trace.open(), capture_output=True, text=True)
    else:
        result = imported(name, capture, trace)
    assert result.returncode == 0 and "20,000 requests of 3 disks" in result.stdout, result.stderr
    ts, writes, sector, size, took, disk = {
        "msr": ('"Timestamp" * 100 - 11644473600000000000', "Type = 'Write'", '"Offset" // 512', '"Size"', '"ResponseTime" * 100', '"DiskNumber"'),
        "alibaba": ('"timestamp" * 1000', "opcode = 'W'", '"offset" // 512', '"length"', "null", '"device_id"'),
        "tencent": ('"Timestamp" * 1000000000', '"IOType" = 1', '"Offset"', '"Size" * 512', "null", '"VolumeID"'),
    }[name]
    columns = FORMATS[name][0].split(", ")
    types = ", ".join(f"'{column}': '{'VARCHAR' if column in ('Hostname', 'Type', 'opcode') else 'HUGEINT'}'" for column in columns)
    source = f"read_csv('{trace}', header = {str(header).lower()}, columns = {{{types}}})"
    theirs = duckdb.sql(f"""select ({ts})::bigint, case when {writes} then 'write' else 'read' end, ({sector})::bigint, ({size})::bigint,
        ({took})::bigint from {source} order by all""").fetchall()
    ours = duckdb.sql(f"select ts_ns, op, sector, bytes, dur_ns from '{capture}/block/*.parquet' order by all").fetchall()
    assert ours == theirs and len(ours) == 20_000
    by_disk = duckdb.sql(f'select count(*) from {source} group by {disk} order by all').fetchall()
    assert duckdb.sql(f"select count(*) from '{capture}/block/*.parquet' group by dev order by all").fetchall() == by_disk


@pytest.mark.parametrize("name", FORMATS)
def test_a_trace_can_be_analyzed(name, tmp_path):
    write_trace(name, tmp_path / "trace.csv")
    assert imported(name, tmp_path / "capture", tmp_path / "trace.csv").returncode == 0
    result = analyze("report", tmp_path / "capture", "--out", tmp_path / "out")
    assert result.returncode == 0 and result.stderr == "", result.stderr
    with open(tmp_path / "out" / "pattern.csv", newline="") as lines:
        disks = {row["name"] for row in csv.DictReader(lines) if row["scope"] == "device"}
    assert disks == ({"src1_0", "src1_1", "src1_2"} if name == "msr" else {"0", "1", "2"})
    with open(tmp_path / "out" / "latency.csv", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["phase"] == "total"]
    # Only one of the traces has durations of requests.
    assert bool(rows) == (name == "msr") and all(int(row["count"]) > 0 for row in rows)
    again = tmp_path / "again"
    assert imported(name, again, tmp_path / "trace.csv").returncode == 0
    assert [part.read_bytes() for part in sorted(again.glob("block/*"))] == [part.read_bytes() for part in sorted((tmp_path / "capture").glob("block/*"))]


@pytest.mark.parametrize("pack", ["gzip", "zstd", "xz"])
def test_compressed_files_are_read_whatever_they_are_called(pack, tmp_path):
    """Compressed files are read under any name: both halves, compressed one by one and concatenated, as by parallel compressors."""
    write_trace("alibaba", tmp_path / "trace.csv")
    text = (tmp_path / "trace.csv").read_bytes()
    half = text.index(b"\n", len(text) // 2) + 1
    parts = [subprocess.run([require(pack), "-c"], input=part, check=True, capture_output=True).stdout for part in (text[:half], text[half:])]
    (tmp_path / "packed.csv").write_bytes(b"".join(parts))
    for out, file in (("plain", "trace.csv"), ("packed", "packed.csv")):
        result = imported("alibaba", tmp_path / out, tmp_path / file)
        assert result.returncode == 0 and "20,000 requests of 3 disks" in result.stdout, result.stderr
    plain, packed = [[part.read_bytes() for part in sorted((tmp_path / out / "block").iterdir())] for out in ("plain", "packed")]
    assert packed == plain
    rows = "select ts_ns, dev, op, sector, bytes from '{}/block/*.parquet'"
    for number, share in enumerate((0.5, 0.97)):
        # Truncated: everything that can be decoded is imported.
        cut_off = parts[0][: int(len(parts[0]) * share)]
        (tmp_path / "cut.csv").write_bytes(cut_off)
        result = imported("alibaba", tmp_path / f"cut{number}", tmp_path / "cut.csv")
        check_cut_off(result, tmp_path / f"cut{number}", "cut.csv: truncated: its compressed data ends early; everything complete before that was imported")
        cut, whole = [duckdb.sql(rows.format(tmp_path / out)).fetchall() for out in (f"cut{number}", "plain")]
        decoded = {"gzip": lambda: zlib.decompressobj(31).decompress(cut_off), "xz": lambda: lzma.LZMADecompressor().decompress(cut_off),
                   "zstd": lambda: subprocess.run([require("zstd"), "-dc"], input=cut_off, capture_output=True).stdout}[pack]()
        # The decoder of xz needs some 20 bytes ahead of a symbol: a few lines.
        missing = decoded.count(b"\n") - len(cut)
        assert 0 <= missing <= (5 if pack == "xz" else 0) and len(cut) > 1_000 and cut == whole[: len(cut)]
    # Less than the first block of zstd, or a line of the others: nothing to import.
    (tmp_path / "short.csv").write_bytes(parts[0][:40])
    check_refused(imported("alibaba", tmp_path / "short", tmp_path / "short.csv"), tmp_path / "short", "short.csv: cannot be imported: its compressed data ends early\n")
    # Trailing data is not reported as an early end.
    (tmp_path / "behind.csv").write_bytes(parts[0] + b"0,R,0,512,5\n")
    check_refused(imported("alibaba", tmp_path / "behind", tmp_path / "behind.csv"), tmp_path / "behind",
                  f': its {pack} data is followed by other data, which begins with "0,R,0,512,": remove it')
    damaged = bytearray(parts[0])
    damaged[len(damaged) // 2: len(damaged) // 2 + 40] = bytes(40)
    (tmp_path / "damaged.csv").write_bytes(damaged)
    result = imported("alibaba", tmp_path / "damaged", tmp_path / "damaged.csv")
    check_refused(result, tmp_path / "damaged", "damaged.csv: cannot be imported: ")
    # The decoded text may be invalid before the damage is detected.
    assert re.search(rf"its {pack} data is damaged$|: line \d+: .*expected", result.stderr.strip()), result.stderr


def test_other_compressions_are_refused_by_their_names(tmp_path):
    (tmp_path / "trace.csv").write_bytes(bz2.compress(b"0,R,0,512,5\n"))
    check_refused(imported("alibaba", tmp_path / "capture", tmp_path / "trace.csv"), tmp_path / "capture",
                  "it is compressed by bzip2, expected gzip, zstd, xz or none: decompress it first, `bzip2 -dc FILE`, and import `-` (standard input)")


@pytest.mark.parametrize("name", FORMATS)
def test_what_editors_put_around_lines_is_no_request(name, tmp_path):
    write_trace(name, tmp_path / "trace.csv")
    (tmp_path / "edited.csv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "trace.csv").read_bytes() + b"\r\n \n\n")
    for file in ("trace", "edited"):
        assert imported(name, tmp_path / file, tmp_path / f"{file}.csv").returncode == 0
    plain, edited = [[part.read_bytes() for part in sorted((tmp_path / file / "block").iterdir())] for file in ("trace", "edited")]
    assert plain == edited


@pytest.mark.parametrize("name", FORMATS)
def test_an_import_is_not_bad_for_what_a_trace_cannot_tell(name, tmp_path):
    write_trace(name, tmp_path / "trace.csv")
    assert imported(name, tmp_path / "capture", tmp_path / "trace.csv").returncode == 0
    told = analyze("quality", tmp_path / "capture", "--out", tmp_path / "out")
    assert told.returncode == 0, told.stderr
    with open(tmp_path / "out" / "quality.csv", newline="") as lines:
        verdicts = {row["check"]: (row["verdict"], row["found"]) for row in csv.DictReader(lines)}
    assert "bad" not in {verdict for verdict, _ in verdicts.values()}, verdicts
    assert verdicts["attribution"] == ("note", "an imported trace has no owners: systems, processes and files of requests are not known")
    assert ("without owners, durations" in verdicts["layer block"][1]) == (name != "msr")


@pytest.mark.parametrize("text, expected", [
    ("0,R,0,512,5\n\n0,R,0,512,6\n", "line 2 is empty, expected a request: there are others after it"),
    ("0,R,0,512\n", "line 1: 4 columns, expected 5: device_id,opcode,offset,length,timestamp"),
    ("0,R,0,512,5\n0,Q,0,512,6\n", "line 2: opcode is \"Q\", expected R or W"), ("", "the trace files have no requests"),
    ("0" * 100_000, "line 1 is longer than 65536 bytes"), ("0,R,7,512,5\n", "expected a multiple of 512"), ("\0\xff,,,,\n", "timestamp is"),
])
def test_what_is_no_trace_is_refused_and_leaves_nothing(text, expected, tmp_path):
    (tmp_path / "trace.csv").write_text(text, encoding="latin-1")
    result = imported("alibaba", tmp_path / "capture", tmp_path / "trace.csv")
    assert result.returncode == 1 and expected in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert not (tmp_path / "capture").exists()


def test_a_directory_with_something_in_it_is_left_alone(tmp_path):
    write_trace("msr", tmp_path / "trace.csv")
    result = imported("msr", tmp_path, tmp_path / "trace.csv")
    assert result.returncode == 1 and "is not empty" in result.stderr and (tmp_path / "trace.csv").exists()
    assert "No such file" in imported("msr", tmp_path / "capture", tmp_path / "nowhere.csv").stderr


@pytest.mark.parametrize("name", FORMATS)
def test_of_a_trace_that_was_cut_off_all_is_taken_that_is_whole(name, tmp_path):
    write_trace(name, tmp_path / "trace.csv")
    assert imported(name, tmp_path / "whole", tmp_path / "trace.csv").returncode == 0
    text = (tmp_path / "trace.csv").read_bytes()
    begin = text.rindex(b"\n", 0, -2) + 1
    for number, end in enumerate([text.rindex(b",") - 1, begin + 3]):
        (tmp_path / "cut.csv").write_bytes(text[:end])
        result = imported(name, tmp_path / f"cut{number}", tmp_path / "cut.csv")
        check_cut_off(result, tmp_path / f"cut{number}", f"cut.csv: truncated: its last {end - begin} bytes are an incomplete line; everything complete before that was imported")
        rows = "select ts_ns, dur_ns, dev, op, sector, bytes from '{}/block/*.parquet'"
        cut, whole = [duckdb.sql(rows.format(tmp_path / out)).fetchall() for out in (f"cut{number}", "whole")]
        assert cut == whole[:-1]
    # A line without its end is also excluded: its last number may lack digits.
    whole = text.rstrip(b"\r\n")
    for number, end in enumerate([len(whole), len(whole) - 1]):
        (tmp_path / "open.csv").write_bytes(text[:end])
        result = imported(name, tmp_path / f"open{number}", tmp_path / "open.csv")
        what = "a line without a newline, which may be truncated within a number (add one if it is not)"
        check_cut_off(result, tmp_path / f"open{number}", f"open.csv: truncated: its last {end - begin} bytes are {what}; everything complete before that was imported")
        assert "19,999 requests" in result.stdout
    (tmp_path / "only.csv").write_bytes(text[:text.index(b"\n")].rstrip(b"\r"))
    check_refused(imported(name, tmp_path / "only", tmp_path / "only.csv"), tmp_path / "only", "a line without a newline", "there is no request before it")
    # Broken anywhere else, it is not a truncated trace.
    (tmp_path / "broken.csv").write_bytes(text[:-30] + b"\n" + text[:1000])
    result = imported(name, tmp_path / "broken", tmp_path / "broken.csv")
    assert result.returncode == 1 and result.stderr.count("\n") == 1, result.stderr
    assert not (tmp_path / "broken").exists()


def test_an_import_is_never_spoken_of_as_a_recording(tmp_path):
    lines = [f"{128166372000000000 + 10_000_000 * second},src1,0,Read,0,512,10\n" for second in range(4)]
    for name, text, rows in (("whole", lines[0], "1 request of 1 disk in 1us"), ("cut", "".join(lines)[:-5], "3 requests of 1 disk in 2s")):
        (tmp_path / f"{name}.csv").write_text(text)
        capture, is_cut = tmp_path / name, name == "cut"
        result = imported("msr", capture, tmp_path / f"{name}.csv")
        assert result.returncode == (3 if is_cut else 0) and result.stdout.startswith(rows), result.stdout
        from_trace = "imported from a trace (msr)" + (" that was truncated" if is_cut else "")
        recovered = analyze("recover", capture)
        assert recovered.returncode == 0 and f"nothing to recover, it was {from_trace}" in recovered.stdout
        status = run(BIN / "iostrata", "status", capture)
        assert status.returncode == 4 and status.stdout == f"{capture}: not a recording: it was imported from a trace (msr)\n"
        for command in ("summary", "latency", "queue", "top", "quality", "report", "trace"):
            told = analyze(command, capture, "--out", tmp_path / "out")
            # One check has this name.
            words = (told.stdout + told.stderr).replace(str(tmp_path), "").replace(" recording  ", "")
            assert told.returncode == (3 if is_cut else 0) and not re.search(r"record(ed|er|ing)|at least 0|\b1 (rows|operations|requests|events|disks)\b|CPU", words), words
            assert is_cut == (f"warning: {capture}: {from_trace}: the rest is missing" in told.stderr)
        with open(tmp_path / "out" / "quality.csv", newline="") as lines:
            found = {row["check"]: (row["verdict"], row["found"]) for row in csv.DictReader(lines)}
        assert not re.search(r"record(ed|er|ing)\b|at least 0", " ".join(text for _, text in found.values())), found
        assert found["recording"] == ("bad" if is_cut else "good", from_trace) and "clock" not in found
        with open(tmp_path / "out" / "loss.csv", newline="") as lines:
            # From the last time in the trace on.
            assert [(row["cause"], row["since_ns"]) for row in csv.DictReader(lines)] == ([("cut_off", "1172163602000000000")] if is_cut else [])


@pytest.mark.parametrize("name", FORMATS)
def test_a_trace_that_is_given_twice_is_refused(name, tmp_path):
    write_trace(name, tmp_path / "trace.csv")
    text = (tmp_path / "trace.csv").read_bytes()
    (tmp_path / "copy.csv").write_bytes(text)
    (tmp_path / "begin.csv").write_bytes(text[: text.index(b"\n", 5_000) + 1])
    (tmp_path / "packed.csv").write_bytes(subprocess.run([require("gzip"), "-c"], input=text, check=True, capture_output=True).stdout)
    for other in ("trace", "copy", "begin", "packed"):
        result = imported(name, tmp_path / "capture", tmp_path / "trace.csv", tmp_path / f"{other}.csv")
        assert result.returncode == 1 and result.stderr.count("\n") == 1, result.stderr
        assert f"{other}.csv: cannot be imported: its first" in result.stderr and "it would count twice" in result.stderr, result.stderr
        assert not (tmp_path / "capture").exists()
    # Its two halves are accepted together.
    half = text.index(b"\n", len(text) // 2) + 1
    (tmp_path / "first.csv").write_bytes(text[:half])
    (tmp_path / "second.csv").write_bytes(text[half:])
    assert "20,000 requests" in imported(name, tmp_path / "capture", tmp_path / "first.csv", tmp_path / "second.csv").stdout


def blktrace(cpu, requests):
    """Returns records of one CPU: requests of 8 sectors on disk 8:0, each queued, issued and completed."""
    records = []
    for number in range(requests):
        for step, action in ((1, 1), (2, 7), (3, 8)):
            head = struct.pack("<IIQQIIIIIHH", 0x65617407, 3 * number + step, 1000 * number + step, 8 * number, 4096, 1 << 16 | action, 42, 8 << 20, cpu, 0, 4)
            records.append(head + b"text")
    return b"".join(records)


def test_blktraces_files_are_taken_as_far_as_they_are_whole_and_once(tmp_path):
    files = [tmp_path / f"sda.blktrace.{cpu}" for cpu in range(2)]
    for cpu, file in enumerate(files):
        file.write_bytes(blktrace(cpu, 100))
    assert "200 requests of 1 disk " in imported("blktrace", tmp_path / "whole", *files).stdout
    # Its last record is truncated: the completion of its last request.
    files[0].write_bytes(blktrace(0, 100)[:-20])
    result = imported("blktrace", tmp_path / "cut", *files)
    check_cut_off(result, tmp_path / "cut", "sda.blktrace.0: truncated: its last 32 bytes are an incomplete record; everything complete before that was imported")
    assert "199 requests" in result.stdout
    assert duckdb.sql(f"select count(*) from '{tmp_path}/cut/block/*.parquet'").fetchall() == [(199,)]
    # Requests of the other CPU that ended after this CPU's last complete record are excluded.
    assert "excluded: 1 row that ended after 1970-01-01T00:00:00.000Z" in analyze("summary", tmp_path / "cut").stdout
    broken = bytearray(blktrace(0, 100))
    broken[52 * 150 + 1] ^= 0xFF
    files[0].write_bytes(broken)
    result = imported("blktrace", tmp_path / "broken", *files)
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and "sda.blktrace.0: cannot be imported: record 151" in result.stderr, result.stderr
    for other in (blktrace(1, 100), blktrace(1, 7)[:-9], blktrace(0, 3) + blktrace(1, 1)):
        files[0].write_bytes(other)
        result = imported("blktrace", tmp_path / "twice", *files)
        assert result.returncode == 1 and result.stderr.count("\n") == 1, result.stderr
        assert "has records of device 8:0 on CPU 1 in the same time range as" in result.stderr and "it would count twice" in result.stderr, result.stderr
        assert not (tmp_path / "twice").exists()


@pytest.mark.parametrize("count", [200_000, 300_000])
def test_an_import_makes_no_capture_that_the_analyzer_refuses_for_its_disks(count, tmp_path):
    """An import never creates a capture that the analyzer refuses because of its disks: the manifest with all of them is read up to 64 MiB."""
    with open(tmp_path / "trace.csv", "w") as file:
        file.writelines(f"{number},R,0,512,{1577808000000000 + number}\n" for number in range(count))
    result = imported("alibaba", tmp_path / "capture", tmp_path / "trace.csv")
    if result.returncode == 0:
        assert f"{count:,} requests of {count} disks" in result.stdout
        for command in ("summary", "latency", "quality"):
            told = analyze(command, tmp_path / "capture")
            assert told.returncode == 0, told.stderr
    else:
        assert count == 300_000, result.stderr
        check_refused(result, tmp_path / "capture", "trace.csv: cannot be imported: line 2", "disks than fit in the manifest of a capture (64.00 MiB), expected at most 2")


def check_refused(result, capture, *words):
    assert result.returncode == 1 and result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr, result.stderr
    assert not capture.exists()


def test_names_of_disks_count_with_their_bytes(tmp_path):
    with open(tmp_path / "trace.csv", "w") as file:
        file.writelines(f"{number}{'x' * 60_000},R,0,512,{1577808000000000 + number}\n" for number in range(1_500))
    result = imported("alibaba", tmp_path / "capture", tmp_path / "trace.csv")
    check_refused(result, tmp_path / "capture", "disks than fit in the manifest of a capture (64.00 MiB), expected at most 10")


def test_requests_that_are_all_alike_can_be_analyzed(tmp_path):
    """Identical requests can be analyzed: they are so small that a reader would refuse larger row groups."""
    (tmp_path / "trace.csv").write_text("0,R,0,512,1577808000000626\n" * 1_000_000)
    assert imported("alibaba", tmp_path / "capture", tmp_path / "trace.csv").returncode == 0
    for command in ("summary", "latency", "quality", "queue", "pattern"):
        told = analyze(command, tmp_path / "capture")
        assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("name", FORMATS)
def test_the_greatest_values_that_a_trace_may_have_can_be_analyzed(name, tmp_path):
    lines = {
        "msr": ["208678456368547758,h,0,Read,9223090561878064640,281474976710656,0", "116444736000000000,h,0,Write,0,0,92233720368547758"],
        "alibaba": ["0,R,9223090561878064640,281474976710656,9223372036854775", "0,W,0,0,0"],
        "tencent": ["9223372036,18013848753668095,549755813888,0,1", "0,0,0,1,1"],
    }[name]
    (tmp_path / "trace.csv").write_text("\n".join(reversed(lines)) + "\n")
    result = imported(name, tmp_path / "capture", tmp_path / "trace.csv")
    assert result.returncode == 0, result.stderr
    told = analyze("report", tmp_path / "capture", "--out", tmp_path / "out")
    assert told.returncode == 0, told.stderr
    with open(tmp_path / "out" / "quality.csv", newline="") as rows:
        assert {row["check"]: row["verdict"] for row in csv.DictReader(rows)}["values"] == "good"


@pytest.mark.parametrize("name, line, expected", [
    ("msr", "128166372000012345,h,0,Read,0,281474976710657,1", 'Size is "281474976710657", expected at most 281474976710656 bytes (256 TiB)'),
    ("msr", "208678456368547758,h,0,Read,0,512,1", 'ResponseTime is "1", expected a request that ends before 2^63 ns since 1970'),
    ("msr", "128166372000012345,h,0,Read,9223372036854775296,512,1", 'Offset is "9223372036854775296", expected a request that ends below 2^63 bytes'),
    ("alibaba", "0,R,0,9223372036854775807,1", 'length is "9223372036854775807", expected at most 281474976710656 bytes (256 TiB)'),
    ("tencent", "1,0,549755813889,0,1", 'Size is "549755813889", expected at most 281474976710656 bytes (256 TiB)'),
    ("tencent", "1,18014398509481984,0,0,1", 'Offset is "18014398509481984", expected a request that ends below 2^63 bytes'),
])
def test_a_line_whose_values_cannot_be_true_is_refused(name, line, expected, tmp_path):
    good = {"msr": "128166372000012345,h,0,Read,0,512,1", "alibaba": "0,R,0,512,1", "tencent": "1,0,1,0,1"}[name]
    (tmp_path / "trace.csv").write_text(f"{good}\n{line}\n{good}\n")
    check_refused(imported(name, tmp_path / "capture", tmp_path / "trace.csv"), tmp_path / "capture", f"trace.csv: cannot be imported: line 2: {expected}")


def test_sizes_that_no_disk_has_cost_what_others_do(tmp_path):
    """Impossible sizes cost no more than others: checking each block would take a second per thirty lines, and so hours."""
    rng, lines = random.Random(3), 200_000
    ranges, possible = {"Read": [], "Write": []}, 0
    with open(tmp_path / "trace.csv", "w") as file:
        for number in range(lines):
            size = rng.choice(((1 << 32) - 512, 1 << 33, 1 << 42, (1 << 44) - 512, 4096))
            offset = rng.randrange((1 << 55) // 512) * 512
            way = rng.choice(("Read", "Write"))
            file.write(f"{128166372000000000 + number * 10},src1,0,{way},{offset},{size},1000\n")
            first, end = offset // 4096, -(-(offset + size) // 4096)
            ranges[way].append((first, end))
            possible += end - first if size < 1 << 32 else 0
    result = imported("msr", tmp_path / "capture", tmp_path / "trace.csv")
    assert result.returncode == 0, result.stderr

    def different(ranges):
        blocks, reached = 0, 0
        for first, end in sorted(ranges):
            blocks, reached = blocks + max(end - max(first, reached), 0), max(end, reached)
        return blocks

    result = analyze("report", tmp_path / "capture", "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    with open(tmp_path / "out/footprint.csv", newline="") as file:
        [row] = [row for row in csv.DictReader(file) if row["scope"] == "all"]
    # The small ones lie almost entirely within the large ones; a sample of their blocks is checked.
    for column, of in (("unique_read_blocks", ranges["Read"]), ("unique_write_blocks", ranges["Write"]), ("unique_blocks", sum(ranges.values(), []))):
        assert abs(int(row[column]) - different(of)) <= lines, (column, row[column], different(of))
    with open(tmp_path / "out/reuse.csv", newline="") as file:
        touched = {row["touched_blocks"] for row in csv.DictReader(file) if row["scope"] == "all"}
    assert touched == {str(possible)}
