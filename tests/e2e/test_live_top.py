"""`iostrata top`: its rows against fio's report, the kernel's counters of the disk and a capture of the same run; owners, files, filters, the screen."""

import csv
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios

import pytest
from conftest import BIN, read_terminal, require, run, wait_for
from fio import fio as jobs

TOP = BIN / "iostrata", "top"


@pytest.fixture
def top(spawn, tmp_path):
    """Starts `iostrata top --batch` and waits until it counts."""

    def start(output, *arguments, interval="0.2"):
        shown = output.with_suffix(".txt")
        with shown.open("wb") as to:
            process = spawn(*TOP, "--batch", "--csv", output, "--interval", interval, *arguments, stdout=to, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: shown.stat().st_size or process.poll() is not None, "a table")
        assert process.poll() is None, process.communicate()
        return process
    return start


def end(process, output):
    """Ends it. Returns the rows of its CSV file, and the number of requests in none of them, which it reports."""
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    missing = int(told.split("in no row: ")[1].split()[0]) if "in no row" in told else 0
    assert process.returncode == (3 if told else 0), told
    return rows_of(output), missing, told


def rows_of(output):
    with output.open(newline="") as lines:
        return list(csv.DictReader(lines))


def total(rows, column, **only):
    return sum(int(row[column]) for row in rows if all(row[name] == value for name, value in only.items()))


def fio(loop, *options, operations=3000, filename=None):
    return jobs("--name=work", f"--filename={filename or loop.device}", "--ioengine=libaio", "--direct=1", "--rw=randrw", "--bs=4k", "--iodepth=8",
                f"--number_ios={operations}", "--size=16M", "--io_size=10G", *options)[0]


def test_no_request_is_missed_between_two_intervals(top, loop, tmp_path):
    outputs = {by: tmp_path / f"{by}.csv" for by in ("disk", "process")}
    processes = {by: top(output, "--device", loop.name, "--by", by, interval="100ms") for by, output in outputs.items()}
    before = loop.stat()
    job = fio(loop, operations=60_000)
    moved = {name: count - before[name] for name, count in loop.stat().items()}
    for by, process in processes.items():
        rows, missing, _ = end(process, outputs[by])
        assert len({row["time"] for row in rows if int(row["requests"])}) > 2
        for op in ("read", "write"):
            count = total(rows, f"{op}_requests")
            assert job[op]["total_ios"] == moved[f"{op}_ops"] and 0 <= moved[f"{op}_ops"] - count <= missing, (count, moved, missing)
            assert 0 <= moved[f"{op}_bytes"] - total(rows, f"{op}_bytes") <= 4096 * missing
        if by == "process":
            assert {row["name"] for row in rows} <= {"fio", "(unknown)"} and len({row["pid"] for row in rows if row["name"] == "fio"}) == 1


def test_latencies_are_those_of_the_rows_of_a_capture(top, record, loop, tmp_path):
    output = tmp_path / "top.csv"
    recorder = record("--layers", "block", "--device", loop.name)
    process = top(output, "--device", loop.name, "--by", "process", interval="3s")
    job, rows = None, []
    # A run that lies within one interval.
    for _ in range(10):
        seen = len(output.with_suffix(".txt").read_text().splitlines())
        wait_for(lambda: len(output.with_suffix(".txt").read_text().splitlines()) > seen, "the begin of an interval")
        begun = len(rows_of(output))
        job = fio(loop)
        wait_for(lambda: total([row for row in rows_of(output)[begun:] if row["name"] == "fio"], "requests") > 2900, "all requests")
        rows = [row for row in rows_of(output)[begun:] if row["name"] == "fio"]
        if len(rows) == 1:
            break
    end(process, output)
    capture = recorder.stop(expected=None)
    [row] = rows
    assert int(row["requests"]) == pytest.approx(job["read"]["total_ios"] + job["write"]["total_ios"], abs=5)
    mean, p50, p99, most = capture.one(f"""select avg(dur_ns), quantile_disc(dur_ns, 0.5), quantile_disc(dur_ns, 0.99), max(dur_ns)
        from {{block}} where pid = {row["pid"]} and dur_ns is not null""")
    # Two programs read the clock one after the other; a bucket is a quarter of a power of two wide.
    assert float(row["avg_ns"]) == pytest.approx(mean, rel=0.1) and float(row["max_ns"]) == pytest.approx(most, rel=0.1)
    assert float(row["p50_ns"]) == pytest.approx(p50, rel=0.25) and float(row["p99_ns"]) == pytest.approx(p99, rel=0.25)
    # Little's law.
    assert float(row["queue_depth"]) == pytest.approx(float(row["avg_ns"]) * int(row["requests"]) / float(row["interval_s"]) / 1e9, rel=0.01)


WRITE = """
import os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.pwrite(file, bytes(int(sys.argv[3])), int(sys.argv[2]))
if len(sys.argv) > 4:
    os.sync()
"""


def test_owners_and_files_of_buffered_and_direct_io(top, disk, tmp_path):
    outputs = {by: tmp_path / f"{by}.csv" for by in ("process", "file", "system", "cgroup")}
    processes = {by: top(output, "--device", disk.name, "--by", by) for by, output in outputs.items()}
    alone, shared, direct = disk.mount / "some" / "alone", disk.mount / "shared", disk.mount / "direct"
    alone.parent.mkdir()
    run(sys.executable, "-c", WRITE, alone, 0, 1 << 20)
    run(sys.executable, "-c", WRITE, shared, 0, 1 << 20)
    run(sys.executable, "-c", WRITE, shared, 1 << 20, 1 << 20, "sync")
    fio(disk, "--rw=write", filename=direct, operations=1024)
    found = {by: end(process, outputs[by]) for by, process in processes.items()}
    assert all(missing <= 2 for _, missing, _ in found.values())
    written = {by: {} for by in found}
    for by, (rows, _, _) in found.items():
        for row in rows:
            written[by][row["name"]] = written[by].get(row["name"], 0) + int(row["write_bytes"])
    writer = os.path.basename(os.path.realpath(sys.executable))[:15]
    files, owners = written["file"], written["process"]
    assert {str(path): files[str(path)] for path in (alone, shared)} == {str(alone): 1 << 20, str(shared): 2 << 20}
    # One request whose completion the kernel did not report.
    assert (4 << 20) - 8192 <= files[str(direct)] <= 4 << 20 and (4 << 20) - 8192 <= owners["fio"] <= 4 << 20
    [name] = [name for name in owners if writer.startswith(name) or name.startswith("python")]
    assert owners[name] == 1 << 20 and owners["(several)"] == 2 << 20
    assert {"(journal)", "(metadata)"} <= owners.keys() and sum(owners.values()) == pytest.approx(sum(files.values()), abs=8192)
    assert written["system"]["fio"] == pytest.approx(4 << 20, abs=8192) and any(name.startswith("/") for name in written["cgroup"])


def test_filters_by_owner_count_only_their_requests(top, loop, tmp_path):
    command = [require("fio"), "--name=work", f"--filename={loop.device}", "--ioengine=psync", "--direct=1", "--rw=read", "--bs=4k", "--size=8M"]
    # Waits for a line before it becomes fio.
    chosen = subprocess.Popen(["sh", "-c", 'read -r _ && "$@"', "sh", *command], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    arguments = {"pid": ["--pid", chosen.pid], "comm": ["--comm", "fio"], "other": ["--comm", "nobody"]}
    processes = {name: top(tmp_path / f"{name}.csv", "--device", loop.name, "--by", "process", *options) for name, options in arguments.items()}
    run(*command)
    chosen.communicate(b"\n", timeout=60)
    assert chosen.returncode == 0
    counts = {}
    for name, process in processes.items():
        rows, missing, _ = end(process, tmp_path / f"{name}.csv")
        assert missing <= 2
        counts[name] = total(rows, "read_requests")
    assert (counts["pid"], counts["comm"], counts["other"]) == (pytest.approx(2048, abs=2), pytest.approx(4096, abs=2), 0)


def test_a_program_that_replaces_another_one_owns_what_it_writes(top, disk, tmp_path):
    file = disk.mount / "file"
    output = {name: tmp_path / f"{name}.csv" for name in ("all", "dd", "bash")}
    processes = {name: top(output[name], "--device", disk.name, "--by", "process", *([] if name == "all" else ["--comm", name])) for name in output}
    run("bash", "-c", f"echo first > {file}; sync -f {file}; exec dd if=/dev/zero of={file} bs=64k count=16 conv=notrunc,fsync")
    written = {}
    for name, process in processes.items():
        rows, missing, _ = end(process, output[name])
        assert missing <= 1
        written[name] = total(rows, "write_bytes", name="bash" if name == "bash" else "dd")
    # One block of ext4 by the shell, which is of the same process: in the same interval it is in the same row.
    block = os.statvfs(disk.mount).f_bsize
    assert (written["dd"], written["bash"]) == (1 << 20, block) and written["all"] - (1 << 20) in (0, block), written


def test_writes_of_zeroes_belong_to_who_asks_for_them(top, loop, tmp_path):
    output = tmp_path / "top.csv"
    process = top(output, "--device", loop.name, "--by", "process")
    run("blkdiscard", "-f", "-z", "-l", "8M", loop.device)
    rows, missing, _ = end(process, output)
    assert total(rows, "requests", name="blkdiscard") > 0 == missing and {row["name"] for row in rows} <= {"blkdiscard", "(flush)"}, rows


def test_a_file_with_the_inode_number_of_a_deleted_one_has_its_own_name(top, disk, tmp_path):
    output = tmp_path / "top.csv"
    process = top(output, "--device", disk.name, "--by", "file")
    numbers = []
    for name in ("first.log", "second.db"):
        file = disk.mount / name
        run("dd", "if=/dev/zero", f"of={file}", "bs=64k", "count=8", "oflag=direct")
        numbers.append(file.stat().st_ino)
        file.unlink()
        run("sync", "-f", disk.mount)
    rows, missing, _ = end(process, output)
    # ext4 gives the number away again.
    assert numbers[0] == numbers[1] and missing <= 1
    assert [total(rows, "write_bytes", name=str(disk.mount / name)) for name in ("first.log", "second.db")] == [512 << 10] * 2


@pytest.mark.parametrize("chosen", [0, 1])
def test_data_of_several_processes_is_that_of_none_of_them(top, disk, tmp_path, chosen):
    output = tmp_path / "top.csv"
    writers = [subprocess.Popen([sys.executable, "-c", "import sys\nsys.stdin.readline()\n" + WRITE, disk.mount / "file", str(number << 16), "65536"],
                                stdin=subprocess.PIPE) for number in range(2)]
    process = top(output, "--device", disk.name, "--by", "process", "--pid", writers[chosen].pid)
    for writer in writers:
        writer.communicate(b"\n", timeout=60)
    run("sync", "-f", disk.mount)
    rows, _, _ = end(process, output)
    assert total(rows, "write_bytes") == 0


READ = """
import mmap, os, sys
memory = mmap.mmap(-1, 4096)
for number in range(9000):
    file = os.open(f"{sys.argv[1]}/{number}", os.O_RDONLY | os.O_DIRECT)
    os.preadv(file, [memory], 0)
    os.close(file)
"""


def test_what_finds_no_room_in_the_table_is_counted_without_its_owner(top, disk, tmp_path):
    for number in range(9000):
        (disk.mount / str(number)).write_bytes(bytes(4096))
    run("sync", "-f", disk.mount)
    output = tmp_path / "file.csv"
    # Long enough for all reads.
    process = top(output, "--device", disk.name, "--by", "file", interval="20s")
    before = disk.stat()["read_ops"]
    run(sys.executable, "-c", READ, disk.mount)
    rows, missing, told = end(process, output)
    moved = disk.stat()["read_ops"] - before
    others = total(rows, "read_requests", name="(others)")
    assert others > 500 and f"requests without owner and file, because a table of the kernel side was full: {others}" in told, told
    assert moved >= 9000 and 0 <= moved - total(rows, "read_requests") <= missing


def pane(socket):
    return run("tmux", "-L", socket, "capture-pane", "-p").stdout


@pytest.mark.parametrize("columns", [80, 120])
def test_the_screen_fits_the_terminal_and_follows_its_keys(loop, recordable, tmp_path, columns):
    socket = f"iostrata-test-{os.getpid()}-{columns}"
    load = subprocess.Popen([require("fio"), "--name=load", f"--filename={loop.device}", "--ioengine=libaio", "--direct=1", "--rw=randread", "--bs=4k",
                             "--iodepth=4", "--rate_iops=500", "--time_based", "--runtime=600"], stdout=subprocess.DEVNULL)
    command = " ".join([*map(str, TOP), "--device", loop.name, "--interval", "500ms", f"2>{tmp_path / 'told'}; echo ended $?; sleep 60"])
    try:
        run("tmux", "-L", socket, "new-session", "-d", "-x", str(columns), "-y", "40", command)
        shows = lambda *words: wait_for(lambda: all(word in pane(socket) for word in words), f"{words} on the screen: {pane(socket)}")
        shows("iostrata top", "DISK", loop.name, f"latency of {loop.name}", " µs ")
        assert ("r/s" in pane(socket)) == (columns > 100)
        for key, words in {"3": ("PROCESS", "latency of fio"), "s": ("sort: bytes",), "5": ("FILE", "(no file) fio"),
                           "?": ("reverse the order",), "x": ("Tab view",), "2": ("SYSTEM", "fio")}.items():
            run("tmux", "-L", socket, "send-keys", key)
            shows(*words)
            assert max(map(len, pane(socket).splitlines())) <= columns
        run("tmux", "-L", socket, "send-keys", "/", "nothing", "Enter")
        shows("name ~ nothing", "0 IOPS")
        # Together they would be another key.
        run("tmux", "-L", socket, "send-keys", "Escape")
        wait_for(lambda: "name ~" not in pane(socket), "all rows")
        run("tmux", "-L", socket, "send-keys", " ")
        shows("PAUSED", "fio")
        run("tmux", "-L", socket, "send-keys", "q")
        shows("ended")
        assert "ended 0" in pane(socket) or "in no row" in (tmp_path / "told").read_text()
    finally:
        run("tmux", "-L", socket, "kill-server")
        load.terminate()
        load.wait(timeout=60)


@pytest.mark.parametrize("arguments, code, expected", [
    ([], 2, "top: standard input and output are no terminal, expected --batch"),
    (["--batch", "--interval", "soon"], 2, "expected a time such as 60s or 5m"),
    (["--batch", "--by", "host"], 2, "possible values: disk, system, process, cgroup, file"),
    (["--batch", "--rows", "0"], 2, "--rows"),
    (["--batch", "--comm", "longer than a name may be"], 2, "expected 1 to 15 bytes"),
    (["--batch", "--pid", "4194305"], 1, "--pid 4194305: there is no such process"),
    (["--batch", "--device", "nosuchdisk"], 1, "--device nosuchdisk: there is no such block device"),
    (["--batch", "--csv", "/nowhere/top.csv"], 1, "--csv /nowhere/top.csv: /nowhere: cannot open: No such file or directory"),
    (["--batch", "--rules", "/nowhere.toml"], 1, "/nowhere.toml: cannot read"),
])
def test_what_cannot_be_is_one_line(arguments, code, expected, recordable):
    done = run(*TOP, "--duration", "1s", *arguments)
    assert done.returncode == code and expected in done.stderr, done
    assert len(done.stderr.splitlines()) == 1 or "Usage: " in done.stderr or "For more information" in done.stderr


def test_a_reader_that_has_enough_ends_it(loop, recordable):
    process = subprocess.Popen([*map(str, TOP), "--batch", "--device", loop.name, "--interval", "100ms"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    assert "0.1 s" in process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) in (0, 3)
    process.stderr.close()


def test_the_terminal_is_as_before_when_it_ends(loop, recordable):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    process = subprocess.Popen([*map(str, TOP), "--device", loop.name, "--interval", "300ms", "--duration", "1s"], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    shown = read_terminal(ours)
    assert process.wait(timeout=60) in (0, 3)
    process.stderr.close()
    # Into the alternate screen and back, with the cursor shown.
    assert shown.count("\x1b[?1049h") == 1 and shown.endswith("\x1b[?25h\x1b[?1049l")
    assert loop.name in shown


def test_the_help_has_examples():
    shown = run(*TOP, "--help")
    assert shown.returncode == 0 and "Examples:" in shown.stdout and "Exit codes:" in shown.stdout
