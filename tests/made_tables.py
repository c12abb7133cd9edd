"""Tables of a made-up log, written as CSV or Parquet, and the transitions that they mean."""

import csv
import datetime
import math

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from made_logs import refuses  # noqa: F401  for the tests of tables
from moore.data.log import notes_of
from moore.formats.load import load_dataset, read_log

COLUMNS = {"obs": ["x", "y"], "action": "u", "reward": "r"}
START = datetime.datetime(2026, 1, 31, 23, 59)
MOMENTS = [START + datetime.timedelta(minutes=m) for m in (0, 1, 2, 5, 6)]


def text(path, *lines, encoding="utf-8"):
    """A CSV file of these lines."""
    path.write_bytes("".join(line + "\n" for line in lines).encode(encoding))
    return str(path)


def write_csv(path, columns):
    """None is an empty cell."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        rows = zip(*columns.values(), strict=True)
        writer.writerows(["" if _absent(v) else v for v in row] for row in rows)


def write_parquet(path, columns):
    parquet.write_table(pa.table({key: _plain(values) for key, values in columns.items()}), path)


WRITERS = {"csv": write_csv, "parquet": write_parquet}


def _absent(value):
    return value is None or (isinstance(value, float) and math.isnan(value))


def _plain(values):
    return values if isinstance(values, pa.Array) else list(values)


def log_of(path, **columns):
    return read_log(path, columns=COLUMNS | columns)


def pairs(path, **columns):
    """The transitions that training takes, as (obs, action, reward, next_obs, terminated)."""
    data = load_dataset(path, columns=COLUMNS | columns)
    known = data.successor_known
    after = np.where(known[:, None], data.next_obs, np.nan)
    rows = zip(data.obs, data.action, data.reward, after, data.terminated, strict=True)
    return [(*o.tolist(), *a.tolist(), float(r), *n.tolist(), bool(t)) for o, a, r, n, t in rows]


def told(log):
    return " | ".join(notes_of(log.metadata))


def rows_of(n, **more):
    """n rows whose every number is another one."""
    k = np.arange(n)
    columns = {"x": k + 0.5, "y": -k - 0.25, "u": k / 8, "r": k * 2.0}
    return {key: value.tolist() for key, value in columns.items()} | more
