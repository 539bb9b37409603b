# SPDX-License-Identifier: GPL-3.0-or-later
"""The computations of `iostrata-analyze summary` as queries for DuckDB and Polars on the same files.

The queries read, group and sum the same data: operations, bytes and average durations by system, layer and direction; bytes by
system, process, cgroup, file and device, by class and evidence; the distribution of every duration by system, layer, operation
and phase, with exact percentiles. They omit losses, bounds, levels, file generations and names. The executable determines the
system, and a process has one row, as in captures of `iostrata-generate`.
"""

QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999, 0.9999)

SYSTEMS = {"minio": "MinIO", "ceph-osd": "Ceph", "etcd": "etcd", "postgres": "PostgreSQL", "glusterfsd": "GlusterFS", "fio": "fio"}

# System names of unattributed requests, by class.
UNOWNED = {"journal": "(journal)", "metadata": "(metadata)", "flush": "(flush)", "swap": "(swap)", "discard": "(discard)"}

GATHERED = ("fill", "fill_write", "fault", "dirty")


def duckdb_views(capture):
    """Views of the tables of the capture, with system and direction."""
    systems = " ".join(f"when '{exe}' then '{name}'" for exe, name in SYSTEMS.items())
    yield f"""create view owner as select pid, case split_part(exe, '/', -1) {systems} else split_part(comm, '/', 1) end as system
        from read_parquet('{capture}/process/*.parquet')"""
    unowned = " ".join(f"when '{name}' then '{system}'" for name, system in UNOWNED.items())
    direction = """case when op in ('read', 'pread64', 'readv', 'preadv', 'preadv2', 'fill', 'fault') then 'read'
        when op in ('write', 'pwrite64', 'writev', 'pwritev', 'pwritev2', 'dirty', 'fill_write', 'writeback', 'flush') then 'write' end"""
    for table in ("syscall", "vfs", "fs", "block"):
        system = "system" if table != "block" else f"coalesce(system, case class {unowned} else '(unknown)' end)"
        yield f"""create view {table} as select rows.*, {system} as system, {direction} as direction
            from read_parquet('{capture}/{table}/*.parquet') rows left join owner using (pid)"""


def duckdb_summary():
    """Operations, bytes and average durations."""
    for table, size in (("syscall", "greatest(ret, 0)"), ("vfs", "greatest(ret, 0)"), ("fs", "bytes"), ("block", "bytes")):
        yield f"""select system, direction, count(*), sum({size} * weight), avg(dur_ns)
            from {table} group by all order by all"""


def duckdb_amplification():
    """Bytes by owner, file, device, class and evidence."""
    scopes = "grouping sets ((system, direction), (pid, direction), (cgroup_id, direction), (dev, ino, direction), (dev, direction))"
    yield f"""select system, pid, cgroup_id, dev, ino, direction, sum(greatest(ret, 0) * weight)
        from syscall where fd_kind in ('regular', 'block') group by {scopes} order by all"""
    yield f"""select system, pid, cgroup_id, dev, ino, direction, sum(bytes * weight)
        from fs where fd_kind = 'regular' group by {scopes} order by all"""
    by_class = ", ".join(f"sum(owned_bytes * weight) filter (class = '{name}')"
                         for name in ("data", "metadata", "journal", "readahead", "swap", "flush", "discard"))
    by_evidence = ", ".join(f"sum(owned_bytes * weight) filter (evidence = '{name}')"
                            for name in ("direct", "page", "inode", "cgroup", "none"))
    scopes = scopes.replace("(pid, ", "(pid, start_ns, ").replace("(dev, ino", "(file_dev, ino")
    yield f"""select system, pid, start_ns, cgroup_id, file_dev, ino, dev, direction, {by_class}, {by_evidence}
        from block group by {scopes} order by all"""


def duckdb_latency(tables=("syscall", "vfs", "fs", "block")):
    """Latency distributions."""
    def distribution(value):
        return f"count({value}), avg({value}), min({value}), max({value}), quantile_disc({value}, {list(QUANTILES)})"

    for table in tables:
        columns = [distribution("dur_ns")]
        where = f"where op not in {GATHERED}" if table == "fs" else ""
        if table == "block":
            columns += [distribution("queue_ns"), distribution("insert_ns"),
                        distribution("dur_ns - queue_ns - coalesce(insert_ns, 0)")]
        yield f"select system, op, {', '.join(columns)} from {table} {where} group by all order by all"


def polars_frames(polars, capture):
    """Lazy frames of the tables, with the system of each row."""
    owner = polars.scan_parquet(f"{capture}/process/*.parquet").select(
        "pid", polars.col("exe").str.split("/").list.last().replace(SYSTEMS).alias("system"))
    reads = ["read", "pread64", "readv", "preadv", "preadv2", "fill", "fault"]
    writes = ["write", "pwrite64", "writev", "pwritev", "pwritev2", "dirty", "fill_write", "writeback", "flush"]
    op = polars.col("op").cast(polars.String)
    direction = polars.when(op.is_in(reads)).then(0).when(op.is_in(writes)).then(1)
    return {table: polars.scan_parquet(f"{capture}/{table}/*.parquet").with_columns(direction.alias("direction")).join(owner, on="pid", how="left")
            for table in ("syscall", "vfs", "fs", "block")}


def polars_queries(polars, capture):
    """The same three results as the DuckDB queries, as lazy frames."""
    col = polars.col
    frames = polars_frames(polars, capture)
    size = {"syscall": col("ret").clip(0), "vfs": col("ret").clip(0), "fs": col("bytes"), "block": col("bytes")}
    for table, frame in frames.items():
        yield frame.group_by("system", "direction").agg(polars.len(), (size[table] * col("weight")).sum(), col("dur_ns").mean())
    files = ["regular", "block"]
    for table in ("syscall", "fs"):
        frame = frames[table].filter(col("fd_kind").cast(polars.String).is_in(files))
        for scope in (["system"], ["pid"], ["cgroup_id"], ["dev", "ino"], ["dev"]):
            yield frame.group_by(*scope, "direction").agg((size[table] * col("weight")).sum())
    for scope in (["system"], ["pid", "start_ns"], ["cgroup_id"], ["file_dev", "ino"], ["dev"]):
        by_both = frames["block"].group_by(*scope, "direction", "class", "evidence")
        yield by_both.agg((col("owned_bytes") * col("weight")).sum())

    def distribution(value, name):
        quantiles = [value.quantile(q, "lower").alias(f"{name}_{q}") for q in QUANTILES]
        return [value.count().alias(f"{name}_n"), value.mean().alias(f"{name}_avg"), value.min().alias(f"{name}_min"),
                value.max().alias(f"{name}_max"), *quantiles]

    for table, frame in frames.items():
        if table == "fs":
            frame = frame.filter(~col("op").cast(polars.String).is_in(list(GATHERED)))
        columns = distribution(col("dur_ns"), "total")
        if table == "block":
            device = col("dur_ns") - col("queue_ns") - col("insert_ns").fill_null(0)
            columns += distribution(col("queue_ns"), "queue") + distribution(col("insert_ns"), "insert") + distribution(device, "device")
        yield frame.group_by("system", "op").agg(columns)
