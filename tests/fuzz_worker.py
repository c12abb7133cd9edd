"""The process that reads damaged files: cases come in as lines of JSON, and so do outcomes go out.

`libhdf5` may crash or hang on damaged bytes, so that whoever asks must be another process.
Run by hand on one case: `echo CASE | python tests/fuzz_worker.py`.
"""

import contextlib
import faulthandler
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from functools import cache
from pathlib import Path

import numpy as np

from fuzz_bases import base, source_of
from fuzz_cases import build
from fuzz_oracle import Expected, Wrong
from fuzz_readers import expectation
from moore.errors import InputError
from moore.formats.load import load_dataset, read_log

TIME_LIMIT = 20  # s of processor time a case, whatever else the machine does
ORACLE_LIMIT = 2  # s for our own reading, once a file is refused
MEMORY = 6 * 2**30  # bytes of address space: beyond, an allocation fails
MOST_GROWTH = 2**20  # KiB that one of these small files may take
LONGEST_MESSAGE = 1000
# libhdf5 allocates what a damaged length says, up to 4 GiB, before it finds that it is wrong.
UNREADABLE = "cannot be read"
COLUMNS = ("obs", "action", "reward", "next_obs", "successor_known", "terminated", "truncated")


def examine(case: dict, refused=lambda told: None) -> dict:
    """{"end": "dataset", "refused" or "failed", "told": the message, or what is wrong}.

    `refused` hears of a refusal before the file is read again: without the reader's checks,
    libhdf5 may not survive that.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    source = source_of(case["base"])
    with _own_folder() as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            build(case)
        os.environ["MINARI_DATASETS_PATH"] = folder
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loaded = _attempt(load_dataset, source, **case["load"])
            log = _attempt(read_log, source, infos=True, exact=True, **case["load"])
        if isinstance(loaded, InputError):
            refused(str(loaded))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            faults = _faults(loaded, source, case)
    if isinstance(log, InputError):
        faults += _faults_of_message(log, source)
    elif isinstance(log, BaseException):
        faults.append(f"read_log raised {_shown(log)}")
    faults += [f"warned: {str(warning.message)[:200]}" for warning in caught]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak > MOST_GROWTH
    told = str(loaded) if isinstance(loaded, InputError) else ""  # a data set's text is long
    outcome = {"end": "refused", "told": told}
    if grown and UNREADABLE in told:
        outcome["libhdf5"] = "memory"
    elif grown:
        faults.append("took more than 1 GiB")
    if faults:
        return {"end": "failed", "told": "; ".join(faults)}
    if isinstance(loaded, InputError):
        return outcome
    return {"end": "dataset", "told": "", "changed": _changed(case, loaded)}


@contextlib.contextmanager
def _own_folder():
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(here)


def _changed(case, loaded) -> bool:
    """Whether damaged bytes, which no format protects completely, made other numbers of it."""
    if {change[0] for change in case["changes"]} != {"bytes"}:
        return False
    whole = _undamaged(case["base"], json.dumps(case["load"]))
    return any(getattr(loaded, key).tobytes() != getattr(whole, key).tobytes() for key in COLUMNS)


@cache
def _undamaged(name, load):
    with _own_folder() as folder:
        build({"base": name, "changes": []})
        os.environ["MINARI_DATASETS_PATH"] = folder
        return load_dataset(source_of(name), **json.loads(load))


def _attempt(function, *args, **kwargs):
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return error


def _faults(loaded, source, case) -> list[str]:
    try:
        expected = expectation(source, case["load"])
        if _minari_metadata_changed(case):
            expected.doubt += "Minari's own metadata"
    except Wrong as reason:
        expected = reason
    if isinstance(loaded, InputError):
        faults = _faults_of_message(loaded, source)
        if isinstance(expected, Expected) and not expected.doubt:
            faults.append(f"refused a good file: {loaded}")
        return faults
    if isinstance(loaded, BaseException):
        return [f"load_dataset raised {_shown(loaded)}"]
    if isinstance(expected, Wrong):
        return [f"accepted a wrong file: {expected}"]
    return _differences(loaded, expected)


def _minari_metadata_changed(case) -> bool:
    """Minari has rules for its own keys."""
    files = {path: data for path, data in base(case["base"]).items() if path.endswith(".json")}
    return any(Path(path).read_bytes() != data for path, data in files.items())


def _faults_of_message(error, source) -> list[str]:
    text = str(error)
    faults = []
    if len(text.splitlines()) != 1 or not text.isprintable():
        faults.append(f"a message of several lines or unprintable: {text[:300]!r}")
    if source not in text:
        faults.append(f"a message without the file's name: {text[:300]}")
    if len(text) > LONGEST_MESSAGE:
        faults.append(f"a message of {len(text)} characters: {text[:300]}")
    return faults


def _differences(dataset, expected) -> list[str]:
    found = []
    wanted = list(zip(*expected.rows, strict=True))
    for key, column in zip(COLUMNS, wanted, strict=True):
        given = getattr(dataset, key)
        kind = np.float32 if key in COLUMNS[:4] else np.bool_
        column = np.array(column, kind)
        bits = given.view(np.uint8) if kind == np.bool_ else given
        if (given.dtype, given.shape, bits.tobytes()) != (kind, column.shape, column.tobytes()):
            found.append(f"{key} differs: {given.tolist()} is not {column.tolist()}"[:600])
    if dataset.episode_lengths.tolist() != expected.lengths:
        found.append(f"lengths {dataset.episode_lengths} are not {expected.lengths}"[:300])
    else:
        for given, total, scale in zip(
            dataset.episode_returns, expected.returns, expected.scale, strict=True
        ):
            if not abs(given - total) <= 1e-13 * scale:
                found.append(f"return {given} is not {total}")
    scores = dataset.reference and (dataset.reference.random, dataset.reference.expert)
    told = {"env_id": dataset.env_id, "reference": scores}
    for key, value in told.items():
        if value != getattr(expected, key) and not expected.doubt:
            found.append(f"{key} {value!r} is not {getattr(expected, key)!r}"[:300])
    if expected.sha256 not in (None, dataset.sha256):
        found.append("sha256 is not the file's")
    return found


def _shown(error) -> str:
    where = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in where]
    return f"{type(error).__name__}: {str(error)[:300]} at {' '.join(places[-6:])}"


def main() -> None:
    """A child answers; where it crashes, the next one need not import everything again."""
    answers = os.fdopen(os.dup(1), "w")
    printed = tempfile.TemporaryFile()  # noqa: SIM115 (open to the end)
    os.dup2(printed.fileno(), 1)
    os.dup2(printed.fileno(), 2)
    faulthandler.enable(os.fdopen(os.dup(answers.fileno()), "w"))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        if not (child := os.fork()):
            _answer(answers, printed)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == 0:
            return
        hung = status == -signal.SIGPROF
        _send(answers, "hung" if hung else "crashed", f"status {status}")


def _answer(answers, printed) -> None:
    """Anything that a library prints goes to a file, and counts as a failure."""

    def refused(told):
        signal.setitimer(signal.ITIMER_PROF, ORACLE_LIMIT)
        _send(answers, "refused so far", told)

    for line in sys.stdin:
        start = printed.seek(0, os.SEEK_END)
        signal.setitimer(signal.ITIMER_PROF, TIME_LIMIT)  # its signal ends the process
        outcome = examine(json.loads(line), refused)
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.flush()
        printed.seek(start)
        text = printed.read().decode(errors="replace")
        if text:
            outcome = {"end": "failed", "told": f"printed {text[:500]!r}; {outcome['told']}"}
        _send(answers, **outcome)


def _send(answers, end, told, **more):
    print(json.dumps({"end": end, "told": told, **more}), file=answers, flush=True)


if __name__ == "__main__":
    main()
