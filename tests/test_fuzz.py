"""Damaged files: each ends in exactly what it holds, or in one clear error; nothing else happens.

What a file holds says a slow reader of its own (`fuzz_readers`, `fuzz_oracle`). The reading is done
by another process, since libhdf5 may not survive damaged bytes. A failure prints its case; to run
it alone: `echo CASE | python tests/fuzz_worker.py`, or `python tests/fuzzing.py SEED 1`.
"""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz_bases import bases
from fuzz_cases import draw_case
from fuzzing import Reader, run_seeds

pytest.importorskip("minari")

SEEDS = 20_000
COMMON = [name for name in bases() if name != "hdf5-real"]  # the same cases everywhere
OURS = settings(
    max_examples=50,
    derandomize=True,
    database=None,
    deadline=None,  # but `fuzz_worker.TIME_LIMIT`
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def reader():
    reader = Reader()
    yield reader
    reader.close()


class Drawn:
    """What `draw_case` draws from, so that hypothesis makes a failing case smaller."""

    def __init__(self, draw):
        self._draw = draw

    def integer(self, low, high):
        return self._draw(st.integers(low, high))

    def choice(self, options):
        return self._draw(st.sampled_from(options))


@st.composite
def cases(draw, names):
    return draw_case(Drawn(draw), names)


def ends_well(outcome, case):
    assert outcome["end"] in ("dataset", "refused"), f"{outcome}\n{json.dumps(case)}"
    return outcome


@pytest.mark.parametrize("name", bases())
@pytest.mark.parametrize("load", [{}, {"max_rows": 30, "seed": 1}, {"fraction": 0.7, "seed": 0}])
def test_an_undamaged_file_is_read_as_it_is(reader, name, load):
    case = {"base": name, "changes": [], "load": load}
    outcome = ends_well(reader.ask(case), case)
    fits = name != "hdf5-v0-long" or load.get("max_rows") == 30 or load == {}
    assert outcome["end"] == "dataset" or not fits


@pytest.mark.parametrize("format", ["hdf5", "npz", "minari"])
def test_a_damaged_file_is_read_as_it_is_or_refused(reader, format):
    @OURS
    @given(cases([name for name in COMMON if name.startswith(format)]))
    def run(case):
        ends_well(reader.ask(case), case)

    run()


KNOWN = {
    # libhdf5 2.0 would crash, or never end
    "chunk shorter than its checksum": (
        "hdf5-v2-gzip-f4", ["bytes", "zero", "structure", 177040, 1023487], "damaged chunk|chunks",
    ),
    "free space of no bytes among the strings": (
        "hdf5-v2-plain-f4", ["bytes", "swap", "anywhere", 224494, 349247], "damaged strings",
    ),
    # a value other than the stored one
    "chunks that were never written": ("hdf5-v1-plain-f4", ["link", "some chunks", 1, 0], "chunks"),
    "array in another file": ("hdf5-v1-plain-f4", ["link", "virtual", 1, 0], "in other files"),
    "bits of a bool": ("hdf5-v2-plain-f4", ["flag", "bits", 0, 6], None),
    "bytes of a bool that are noise": (
        "npz-own-log", ["member", "bytes", "noise", 1025375, 718387], "expected flags",
    ),
    "time-outs under another name": ("hdf5-v1-plain-f4", ["key", "case", 0, 4, 0], "'Timeouts'"),
    "chunk without its filters": (
        "hdf5-v1-gzip-f4", ["bytes", "ones", "structure", 288423, 573058], "damaged chunk",
    ),
    "observations that were never written": (
        "hdf5-v1-plain-f4", ["link", "uninitialised", 1, 1], "never written",
    ),
    "names of our own that are damaged": (
        "hdf5-own-v1", ["bytes", "noise", "structure", 592016, 621231], "nothing is known of",
    ),
    "chunk that is listed but not found": (
        "hdf5-v2-gzip-f4", ["bytes", "bit", "structure", 302195, 28278], "cannot be read",
    ),
    "time-outs that lead nowhere": ("hdf5-v1-plain-f4", ["link", "dangling", 4, 0], "cannot be"),
    "time-outs that are a group": ("hdf5-v1-plain-f4", ["link", "group", 4, 0], "no array"),
    "group that cannot be opened": (
        "hdf5-own-v1", ["bytes", "bit", "anywhere", 574370, 595965], "past end of allocation",
    ),
    "flags that are NaN": ("hdf5-v1-plain-f4", ["flag", "nan", 1, 5], "NaN or infinities"),
    "observations without numbers": (
        "hdf5-v1-plain-f4", ["shape", "no columns", 1, 0], "numbers in each row",
    ),
    "one row for a whole episode": ("minari-v2", ["shape", "one row", 0, 5], "episode 0 has"),
    "episodes of different types": ("minari-v2", ["type", "int16", 4, 0], "episode 1 has"),
    "two arrays of one name": ("npz-own", ["member", "no suffix", "byte", 3, 16], "go by the name"),
    "equal reference scores": (
        "hdf5-v2-plain-f4", ["attribute", "ref_min_score", "nan", 0, 0], "reference scores",
    ),
    # another exception, a warning, or a message that is no clear line
    "JSON of many brackets": ("npz-savez", ["metadata", 8, 1, 1], "not JSON"),
    "member that is no array": ("npz-savez", ["member", "no array", "bit", 0, 1], "no array"),
    "NaN that signals": ("hdf5-v2-plain-f8-infos", ["value", "signaling", 2, 0], "NaN"),
    "NaN that signals in a float32": (
        "hdf5-v1-plain-f4", ["value", "signaling", 134456, 913919], "NaN",
    ),
    "line breaks in a key": ("npz-savez", ["key", "rename", 3, 0, 0], "a b"),
    "text for what was observed": ("minari-own", ["link", "text", 880999, 620136], "cannot be"),
    "text for a number": ("minari-v2", ["json", "object", 0, 0], "cannot be"),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_what_was_found_once_stays_found(reader, name):
    base, change, told = KNOWN[name]
    case = {"base": base, "changes": [change], "load": {}}
    outcome = ends_well(reader.ask(case), case)
    assert (outcome["end"] == "dataset") == (told is None), outcome
    assert told is None or any(part in outcome["told"] for part in told.split("|")), outcome


@pytest.mark.slow
def test_thousands_of_damaged_files(capsys):
    tally = run_seeds(0, SEEDS)
    with capsys.disabled():
        print(f"\n{tally}")
    assert sum(tally.ends.values()) == SEEDS
    assert not tally.faults
