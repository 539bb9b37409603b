"""Latency histograms that the kernel side counts: against the kernel's counters of the disk, and against the rows of the block layer."""

import shutil
import signal

import duckdb
from conftest import BIN, Capture, Loop, require, run, wait_for

SPANS = "select distinct since_ns, ts_ns from {block_latency} order by 1"


def stop(recorder):
    """Stops a recorder. Of some requests the kernel reports no completion (docs/measurements/validation.md), which is counted."""
    capture = recorder.stop(expected=None)
    assert recorder.process.returncode == (3 if capture.lost() else 0), recorder.text
    assert capture.lost_events().keys() <= {("block_latency", "unseen_end")}, recorder.text
    return capture


def work(loop, seed=1, operations=3000):
    """Reads and writes a disk directly, in several sizes and with flushes, to the end."""
    done = run(require("fio"), "--name=work", f"--filename={loop.device}", "--ioengine=libaio", "--direct=1", "--rw=randrw", "--bsrange=4k-64k",
               "--iodepth=8", f"--number_ios={operations}", "--fdatasync=64", f"--randseed={seed}", "--size=128m")
    assert done.returncode == 0, done.stderr


def test_every_request_of_a_disk_is_in_one_bucket_of_its_operation(record, loop):
    before = loop.stat()
    recorder = record("--layers", "block,block_latency", "--device", loop.name, "--interval", "200ms")
    work(loop)
    recorder.wait_until(lambda health: any(of["class"] == "block_latency" and of["seen"] for of in health["classes"]))
    work(loop, seed=2)
    capture = stop(recorder)
    moved = {name: count - before[name] for name, count in loop.stat().items()}
    capture.check_books()
    capture.check_device(loop.name)
    of_table = {op: sums for op, *sums in capture.sql("select op, sum(requests)::bigint, sum(bytes)::bigint from {block_latency} group by op")}
    # The kernel's counters. Of some requests the kernel reports no completion (docs/measurements/validation.md): their rows have no duration.
    unseen = {op: sums for op, *sums in capture.sql("select op, count(*), sum(bytes)::bigint from {block} where dur_ns is null group by op")}
    counted = {op: [known + missed for known, missed in zip(sums, unseen.get(op, [0, 0]))] for op, sums in of_table.items()}
    assert counted["read"] == [moved["read_ops"], moved["read_bytes"]]
    # They count an empty flush as a write. The driver gets flush commands of the block layer in its place, which the histogram has.
    [(flushes,)] = capture.sql("select count(*) from {block} where op = 'flush'")
    assert counted["write"] == [moved["write_ops"] - flushes, moved["write_bytes"]]
    assert counted["device_flush"] == [moved["flush_ops"], 0] and flushes > 0
    # The rows of the block layer, from issue to completion.
    rows = capture.sql("""select op, count(*), sum(bytes)::bigint, sum(dur_ns - queue_ns - coalesce(insert_ns, 0))::bigint
                           from {block} where dur_ns is not null and op != 'flush' group by op""")
    assert {op: [count, size] for op, count, size, _ in rows} == of_table
    lost = sum(count for (table, _), count in capture.lost_events().items() if table == "block_latency")
    assert lost <= capture.unseen_ends(), "requests whose completion was not reported, and no others"
    # Two programs read the clock one after another: the means differ by less than two µs, and so do the places in the histogram.
    durations = dict(capture.sql("select op, sum(dur_ns)::bigint from {block_latency} group by op"))
    for op, count, _, duration_ns in rows:
        assert abs(durations[op] - duration_ns) < 2000 * count, op
    lows = "case when us < 2 then 0 else 1::bigint << floor(log2(us))::int end"
    differing = capture.sql(f"""
        with expected as (select op, {lows} as low_us, count(*) as requests
                from (select op, (dur_ns - queue_ns - coalesce(insert_ns, 0)) // 1000 as us from {{block}} where dur_ns is not null and op != 'flush')
                group by all),
            counted as (select op, low_us, sum(requests) as requests from {{block_latency}} group by all)
        select sum(abs(coalesce(c.requests, 0) - coalesce(e.requests, 0)))::bigint from counted c full join expected e using (op, low_us)""")[0][0]
    assert differing <= 0.1 * sum(count for _, count, _, _ in rows), differing
    for low_us, high_us in capture.sql("select distinct low_us, high_us from {block_latency}"):
        assert (low_us, high_us) == (0, 1) or (low_us & (low_us - 1) == 0 and high_us == 2 * low_us - 1)
    # The intervals follow one another; one without requests has no row.
    spans = capture.sql(SPANS)
    assert len(spans) > 1 and all(since < until for since, until in spans), spans
    assert all(until <= since for (_, until), (since, _) in zip(spans, spans[1:])), spans


def test_a_filter_by_device_leaves_out_other_disks_and_the_group_needs_no_layer(record, loop, tmp_path):
    (tmp_path / "other").mkdir()
    other = Loop(tmp_path / "other", 160)
    try:
        recorder = record("--layers", "block_latency", "--device", loop.name)
        work(loop, operations=300)
        work(other, operations=300)
        capture = stop(recorder)
        assert capture.sql("select distinct dev from {block_latency}") == [(loop.number,)]
        assert capture.manifest["groups"]["block_latency"] == {"captured": True, "how": "tp_btf"}
        recorder = record("--layers", "block_latency", "--comm", "fio")
        work(loop, operations=300)
        work(other, operations=300)
        capture = stop(recorder)
        # A histogram has no owner, which the capture says.
        assert {(loop.number,), (other.number,)} <= set(capture.sql("select distinct dev from {block_latency}"))
        assert capture.manifest["groups"]["block_latency"]["without"] == ["--comm fio"]
        assert "block_latency: the filter does not apply: --comm fio" in recorder.text
    finally:
        other.close()


def test_what_was_flushed_before_a_kill_is_recovered_and_a_missing_row_is_noticed(record, loop):
    recorder = record("--layers", "block,block_latency", "--device", loop.name, "--interval", "100ms", "--flush-interval", "100ms")
    before = loop.stat()
    work(loop)
    moved = loop.stat()["read_ops"] - before["read_ops"]
    # Readable while it is recorded, once the rows have been flushed and the part is closed.
    recorder.process.send_signal(signal.SIGHUP)
    folder = recorder.out / "block_latency"

    def counted():
        if not all(list((recorder.out / table).glob("part-*.parquet")) for table in ("block", "block_latency")):
            return False
        [(requests, rows)] = duckdb.sql(f"""select (select sum(requests)::bigint from '{folder}/part-*.parquet' where op = 'read'),
            (select count(*) from '{recorder.out}/block/part-*.parquet' where op = 'read' and dur_ns is not null)""").fetchall()
        # All requests but those whose completion the kernel does not report.
        return requests == rows and requests >= 0.99 * moved

    wait_for(lambda: recorder.process.send_signal(signal.SIGHUP) or counted(), "all requests are in closed parts")
    recorder.process.kill()
    recorder.process.wait()
    recovered = run(BIN / "iostrata-analyze", "recover", recorder.out)
    assert recovered.returncode == 0, recovered.stderr
    capture = Capture(recorder.out)
    assert capture.sql("select sum(requests)::bigint from {block_latency} where op = 'read'") == capture.sql(
        "select count(*) from {block} where op = 'read' and dur_ns is not null")
    part = sorted(folder.glob("part-*.parquet"))[0]
    [(rows,)] = duckdb.sql(f"select count(*) from '{part}'").fetchall()
    assert rows > 0
    shutil.move(part, recorder.root.parent / "elsewhere")
    told = run(BIN / "iostrata-analyze", "quality", recorder.out)
    assert told.returncode == 3 and "block_latency" in told.stdout + told.stderr, told


def test_without_a_directory_its_rows_have_no_place(recordable):
    refused = run(BIN / "iostrata", "record", "--live", "--layers", "block_latency", "--duration", "1s")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("iostrata: record: --layers block_latency: expected --out DIR") or "--layers block_latency: expected --out DIR" in refused.stderr
    unknown = run(BIN / "iostrata", "record", "--out", "/nowhere", "--layers", "block_latencies")
    assert unknown.returncode == 2 and "block_latency" in unknown.stderr


def test_a_pause_ends_when_there_is_room_though_no_other_row_comes(record, loop, tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=48m", "none", place, check=True)
    try:
        recorder = record("--layers", "block_latency", "--device", loop.name, "--interval", "100ms", "--min-free", "16MiB", out=place / "run")
        work(loop, operations=200)
        (place / "fill").write_bytes(bytes(40 << 20))
        work(loop, operations=200)
        recorder.wait_until(lambda health: health["paused"] or work(loop, operations=50))
        (place / "fill").unlink()
        recorder.wait_until(lambda health: not health["paused"])
        before = loop.stat()["read_ops"]
        work(loop)
        moved = loop.stat()["read_ops"] - before
        capture = recorder.stop(expected=3)
        assert capture.lost_events().keys() <= {("block_latency", "disk_full"), ("block_latency", "unseen_end")}
        capture.check_books()
        [(counted,)] = capture.sql("select sum(requests)::bigint from {block_latency} where op = 'read'")
        assert counted >= moved
    finally:
        run("umount", place)
