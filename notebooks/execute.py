"""Runs every notebook on the tables in a directory, each in its own kernel, one per CPU at a time."""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

NOTEBOOKS = Path(__file__).resolve().parent


async def execute(path: Path, results: Path, scratch: Path, turn: asyncio.Semaphore) -> str | None:
    """Runs one notebook. Returns the reason if it could not draw its figure."""
    async with turn:
        # A failed run must not leave an old figure of other tables.
        for form in ("pdf", "svg"):
            (results / f"{path.stem}.{form}").unlink(missing_ok=True)
        # Sockets in a private directory: no other user of the machine can listen or connect.
        kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=str(scratch / path.stem))
        client = NotebookClient(nbformat.read(path, as_version=4), km=kernel, timeout=None, resources={"metadata": {"path": str(NOTEBOOKS)}})
        try:
            await client.async_execute()
        except CellExecutionError as error:
            # Missing results are one line; any other error needs its traceback.
            return f"{path.stem}: {error.evalue if error.ename == 'Missing' else error}"
        finally:
            await kernel.shutdown_kernel(now=True)
            # Left by a kernel that was interrupted while writing.
            for form in ("pdf", "svg"):
                (results / f".{path.stem}.{form}.tmp").unlink(missing_ok=True)
    return None


async def main(results: Path) -> int:
    if not (results / "about.json").exists():
        print(f"figures: no results in {results}: run `iostrata-analyze report CAPTURE --out {results}`", file=sys.stderr)
        return 1
    turn = asyncio.Semaphore(os.cpu_count() or 1)
    paths = sorted(NOTEBOOKS.glob("*.ipynb"))
    with tempfile.TemporaryDirectory() as scratch:
        # Ignore the user's settings and leave no files behind: a kernel that is interrupted at startup leaves its connection file.
        tempfile.tempdir = scratch
        os.environ.update(TMPDIR=scratch, IOSTRATA_RESULTS=str(results.resolve()), IPYTHONDIR=scratch, JUPYTER_RUNTIME_DIR=scratch, PYTHONDONTWRITEBYTECODE="1")
        failed = [reason for reason in await asyncio.gather(*(execute(path, results, Path(scratch), turn) for path in paths)) if reason]
    for reason in failed:
        print(f"figures: {reason}", file=sys.stderr)
    for path in paths:
        for form in ("pdf", "svg"):
            if (results / f"{path.stem}.{form}").exists():
                print(results / f"{path.stem}.{form}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]))))
