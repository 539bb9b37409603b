# SPDX-License-Identifier: GPL-3.0-or-later
"""Tracers under comparison: start command, readiness check, and recorded and lost events of each."""
import csv
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from testbed import run

READY_TIMEOUT = 20
STOP_TIMEOUT = 60
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Findings:
    """Cost and results of one traced run."""

    cpu_s: float = 0.0
    startup_cpu_s: float = 0.0
    rss_bytes: int = 0
    events: int = 0
    bytes: int = 0
    lost: int = 0
    books: str = ""
    rows: dict = field(default_factory=dict)
    notes: set = field(default_factory=set)
    problems: list = field(default_factory=list)


class Tracer:
    """A program that records the I/O of fio; one object per run."""

    name = ""
    tool = ""
    settle_s = 1.0

    def __init__(self, ground, out):
        self.ground, self.out, self.process = ground, out, None
        out.mkdir()

    @classmethod
    def why_not(cls):
        """Reason why it cannot be measured here; None if it can."""
        return None if shutil.which(cls.tool) else f"{cls.tool} is not installed"

    def start(self):
        """Starts the tracer and waits until it is attached."""
        with open(self.out / "messages", "wb") as messages:
            self.process = subprocess.Popen([str(c) for c in self.command()], stdin=subprocess.DEVNULL,
                                            stdout=messages, stderr=messages)
        deadline = time.monotonic() + READY_TIMEOUT
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.tool} did not become ready: {self.last_words()}")
            time.sleep(0.02)
        time.sleep(self.settle_s)
        self.startup_cpu_s = self.cpu_so_far()

    def cpu_so_far(self):
        """CPU time so far. Startup (BPF verifier, compiler) is not a cost per I/O, so it is reported separately."""
        after_name = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / TICKS

    def stop(self):
        """Ends the tracer with SIGINT. Returns its cost and results. `wait4`, because it reports the usage of a single child."""
        os.kill(self.process.pid, signal.SIGINT)
        deadline = time.monotonic() + STOP_TIMEOUT
        pid = 0
        while not pid:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.tool} did not end within {STOP_TIMEOUT} s of SIGINT")
            time.sleep(0.01)
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        findings = Findings(cpu_s=max(0.0, usage.ru_utime + usage.ru_stime - self.startup_cpu_s),
                            startup_cpu_s=self.startup_cpu_s, rss_bytes=usage.ru_maxrss * 1024)
        self.read(findings)
        return findings

    def clean_up(self):
        """Removes the process and the files."""
        if self.process and self.process.returncode is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.out, ignore_errors=True)

    def messages(self):
        return (self.out / "messages").read_text(errors="replace")

    def last_words(self):
        return " / ".join(self.messages().strip().splitlines()[-3:]) or "no output"

    def command(self):
        raise NotImplementedError

    def ready(self):
        return True

    def read(self, findings):
        raise NotImplementedError


class Iostrata(Tracer):
    """`iostrata record`, all layers."""

    name = "iostrata, all layers"
    tool = "iostrata"
    binary = None
    options = ()
    settle_s = 0.2
    # The begin of the names of its programs.
    programs_begin = "iostrata_"

    @classmethod
    def why_not(cls):
        return None if cls.binary.is_file() else f"{cls.binary} is not built"

    @classmethod
    def use_copy(cls, ground):
        """Copies the recorder, so that a concurrent build does not change the measured program."""
        Iostrata.binary = Path(shutil.copy(cls.binary, ground.scratch / "iostrata"))

    def command(self):
        return [self.binary, "record", "--out", self.out / "capture", "--device", self.ground.device, *self.options]

    def manifest(self):
        return self.out / "capture" / "manifest.json"

    def ready(self):
        return self.manifest().exists()

    def read(self, findings):
        # 3: finished, but events were lost or the event accounting is inconsistent; the manifest has the details.
        if self.process.returncode not in (0, 3):
            raise RuntimeError(f"iostrata exited with {self.process.returncode}: {self.last_words()}")
        manifest = json.loads(self.manifest().read_text())
        if manifest["state"] != "complete":
            raise RuntimeError(f"iostrata left its capture in state {manifest['state']}")
        lines = [json.loads(line) for line in self.manifest().with_name("parts.jsonl").read_text().splitlines()]
        for part in (line["finished"] for line in lines):
            findings.rows[part["table"]] = findings.rows.get(part["table"], 0) + part["rows"]
            if part["table"] == "block":
                findings.events += part["rows"]
                findings.bytes += part["bytes"]
        findings.notes = {f"{layer} layer not captured: {state['how']}"
                          for layer, state in manifest["layers"].items()
                          if not state["captured"] and state["how"] != "not selected"}
        self.check_books(manifest, findings)

    def check_books(self, manifest, findings):
        """Checks the event accounting: reported losses are allowed here, unreported losses are problems."""
        accounts, skipped = manifest["books"]["accounts"], manifest["books"]["skipped"]
        lost = {account["class"]: 0 for account in accounts}
        for account in accounts:
            lost[account["class"]] += sum(account["lost"].values())
            if account["seen"] != account["written"] + sum(account["lost"].values()):
                findings.problems.append(f"inconsistent event accounting: {account}")
        skips = sum(program["recursion"] for program in skipped)
        findings.lost = sum(lost.values()) + skips
        book = next((b for b in manifest["device_books"] if b["device"] == self.ground.device), None)
        if book is None:
            findings.problems.append(f"no device counters of {self.ground.device} in the manifest")
            return
        ops = {way: book["kernel"][way] - book["rows"][way] - book["own"][way] for way in ("read_ops", "write_ops")}
        missing = sum(ops.values())
        if not book["balanced"] and not 0 < missing <= lost.get("block", 0) + skips:
            findings.problems.append(
                f"{self.ground.device} inconsistent: kernel − rows − own = {ops['read_ops']} reads, "
                f"{ops['write_ops']} writes, but {lost.get('block', 0)} block events counted as lost, {skips} skipped")
        findings.books = ("consistent" if not findings.problems else "INCONSISTENT") + (
            "" if book["balanced"] else f", {self.ground.device} off by {missing}")

    def program_ids(self):
        """Ids of the BPF programs of this process; another recorder may be running."""
        fds = Path(f"/proc/{self.process.pid}/fdinfo").iterdir()
        return {int(i) for fd in fds for i in re.findall(r"^prog_id:\s*(\d+)$", fd.read_text(), re.M)}

    def programs(self):
        """Run time and run count of each BPF program so far; requires `bpf_stats_enabled`."""
        ids = self.program_ids()
        shown = [p for p in json.loads(run("bpftool", "prog", "show", "-j"))
                 if p["id"] in ids and p.get("name", "").startswith(self.programs_begin)]
        return {p["name"]: (p.get("run_time_ns", 0), p.get("run_cnt", 0)) for p in shown}


class IostrataBlock(Iostrata):
    """`iostrata record`, block layer only."""

    name = "iostrata, block only"
    options = ("--layers", "block")


class IostrataHist(Iostrata):
    """`iostrata hist`: no record for each request."""

    name = "iostrata hist"
    programs_begin = "block_latency"

    def command(self):
        return [self.binary, "hist", "--output", self.out / "lines", "--flush-every", 1, "--interval", 1, "--device", self.ground.device]

    def ready(self):
        lines = self.out / "lines"
        return lines.exists() and lines.stat().st_size > 0

    def read(self, findings):
        # 3: some requests are in no histogram; it says how many.
        if self.process.returncode not in (0, 3):
            raise RuntimeError(f"iostrata hist exited with {self.process.returncode}: {self.last_words()}")
        lines = self.out / "lines"
        snapshots = [json.loads(line) for line in lines.read_text().splitlines()]
        findings.events = sum(of["total"] for snapshot in snapshots for of in snapshot["latency_histogram"])
        findings.bytes = lines.stat().st_size
        told = re.search(r"requests in no histogram: (.*)", self.messages())
        findings.lost = sum(int(count) for count in re.findall(r"(\d+) (?:found|have)", told[1])) if told else 0


class IostrataTop(Iostrata):
    """`iostrata top`: sums by process and file, no record for each request."""

    name = "iostrata top"
    programs_begin = "block_activ"

    def command(self):
        return [self.binary, "top", "--batch", "--by", "process", "--csv", self.out / "rows.csv", "--interval", 1, "--device", self.ground.device]

    def ready(self):
        return self.messages() != ""

    def read(self, findings):
        # 3: some requests are in no row; it says how many.
        if self.process.returncode not in (0, 3):
            raise RuntimeError(f"iostrata top exited with {self.process.returncode}: {self.last_words()}")
        with (self.out / "rows.csv").open(newline="") as rows:
            findings.events = sum(int(row["requests"]) for row in csv.DictReader(rows))
        findings.bytes = (self.out / "rows.csv").stat().st_size
        told = re.search(r"requests in no row: (.*)", self.messages())
        findings.lost = sum(int(count) for count in re.findall(r"(\d+) (?:found|have)", told[1])) if told else 0


class IostrataSnoop(Iostrata):
    """`iostrata snoop --min-latency 10ms`: a record only for slow requests."""

    name = "iostrata snoop, 10 ms"

    def command(self):
        return [self.binary, "snoop", "--min-latency", "10ms", "--device", self.ground.device]

    def ready(self):
        return self.messages().startswith("TIME ")

    def read(self, findings):
        if self.process.returncode not in (0, 3):
            raise RuntimeError(f"iostrata snoop exited with {self.process.returncode}: {self.last_words()}")
        told = self.messages()
        short = re.search(r"(\d+) took less than --min-latency", told)
        findings.events = sum(map(int, re.findall(r"requests  (\d+) shown", told))) + (int(short[1]) if short else 0)
        findings.lost = sum(map(int, re.findall(r"events .* (\d+) lost", told)))


class Bpftrace(Tracer):
    """One printed line per request, with the latency only: the cheapest possible script of this kind."""

    name = "bpftrace, latency per request"
    tool = "bpftrace"
    script = """
        tracepoint:block:block_rq_issue /args->dev == DEV/ { @issued[args->sector] = nsecs; }
        tracepoint:block:block_rq_complete /args->dev == DEV && @issued[args->sector]/ {
            printf("%lld\\n", nsecs - @issued[args->sector]);
            delete(@issued[args->sector]);
        }
        END { clear(@issued); }
    """

    def command(self):
        return ["bpftrace", "-o", self.out / "lines", "-e", self.script.replace("DEV", str(self.ground.dev))]

    def ready(self):
        # Printed when attaching starts; `settle_s` covers the rest. The output of a BEGIN probe stays in a buffer.
        lines = self.out / "lines"
        return lines.exists() and b"Attaching" in lines.read_bytes()

    def read(self, findings):
        lines = self.out / "lines"
        findings.bytes = lines.stat().st_size
        with open(lines, errors="replace") as file:
            for line in file:
                findings.events += line.strip().isdigit()
                findings.lost += lost_by_bpftrace(line)
        findings.lost += lost_by_bpftrace(self.messages())


class Biolatency(Bpftrace):
    """The cheapest possible histogram of latencies, printed and cleared every second, as biolatency does."""

    name = "bpftrace, histogram"
    script = """
        tracepoint:block:block_rq_issue /args->dev == DEV/ { @issued[args->sector] = nsecs; }
        tracepoint:block:block_rq_complete /args->dev == DEV && @issued[args->sector]/ {
            @usecs = hist((nsecs - @issued[args->sector]) / 1000);
            @requests = count();
            delete(@issued[args->sector]);
        }
        interval:s:1 { print(@usecs); print(@requests); clear(@usecs); clear(@requests); }
        END { clear(@issued); }
    """

    def read(self, findings):
        lines = self.out / "lines"
        findings.bytes = lines.stat().st_size
        text = lines.read_text(errors="replace")
        findings.events = sum(int(count) for count in re.findall(r"^@requests: (\d+)$", text, re.M))
        findings.lost = lost_by_bpftrace(text) + lost_by_bpftrace(self.messages())


def lost_by_bpftrace(text):
    """Sum of the lines `Lost N events` that bpftrace writes into its output."""
    return sum(int(n) for n in re.findall(r"Lost (\d+) events", text))


class Perf(Tracer):
    """`perf record` on issue and completion, without build ids, which are not needed here and cost time at the end."""

    name = "perf record, issue + complete"
    tool = "perf"

    def command(self):
        chosen = [word for event in ("issue", "complete")
                  for word in ("-e", f"block:block_rq_{event}", "--filter", f"dev == {self.ground.dev}")]
        return ["perf", "record", "-a", "--no-buildid", "-o", self.out / "perf.data", *chosen]

    def read(self, findings):
        data = self.out / "perf.data"
        findings.bytes = data.stat().st_size
        for kind, body in perf_records(data):
            findings.events += kind == 9  # PERF_RECORD_SAMPLE
            if kind == 2:  # PERF_RECORD_LOST: u64 id, u64 lost
                findings.lost += struct.unpack_from("<Q", body, 8)[0]


def perf_records(path):
    """Records of a perf.data file (tools/perf/Documentation/perf.data-file-format.txt). `perf report --stats` counts the
    PERF_RECORD_LOST records, not the lost events. Reads in pieces: a child inherits its parent's peak RSS."""
    with open(path, "rb", buffering=1 << 20) as file:
        magic, _, _, _, _, offset, left = struct.unpack("<8s6Q", file.read(56))
        if magic != b"PERFILE2":
            raise RuntimeError(f"{path}: expected a perf.data file of this machine")
        file.seek(offset)
        while left > 0:
            kind, _, size = struct.unpack("<IHH", file.read(8))
            yield kind, file.read(size - 8)
            left -= size


TRACERS = (IostrataBlock, Iostrata, IostrataHist, IostrataTop, IostrataSnoop, Bpftrace, Biolatency, Perf)
