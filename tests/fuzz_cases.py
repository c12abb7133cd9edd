"""A case: one file, one to three things done to it, and how it is asked for.

A case is a plain dictionary, so that it goes through a pipe and into a report. The same function
draws it from a seed (`Dice`) or from hypothesis, which makes a failing one smaller.
"""

import os
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import fuzz_arrays
import fuzz_files
from fuzz_bases import base

FLAG_KEYS = {"terminals", "timeouts", "successor_known", "terminated", "truncated"}
FLAG_KEYS |= {"terminations", "truncations", "moore_observed"}

FAMILIES = {
    "hdf5": ["shape", "type", "value", "flag", "rows", "key", "link", "attribute", "bytes"],
    "npz": ["shape", "type", "value", "flag", "rows", "key", "member", "metadata", "bytes"],
    "minari": ["shape", "type", "value", "flag", "key", "link", "attribute", "json", "bytes"],
}
KEY_CHANGES = ["drop", "rename", "copy", "swap", "junk", "case"]


@dataclass
class Dice:
    """Draws from a seed alone."""

    seed: int

    def __post_init__(self):
        self._random = random.Random(self.seed)

    def integer(self, low, high):
        return self._random.randint(low, high)

    def choice(self, options):
        return options[self._random.randrange(len(options))]


def draw_case(dice, bases: list[str]) -> dict:
    kinds = {name.split("-")[0] for name in bases}
    kind = dice.choice([kind for kind in ("hdf5", "hdf5", "npz", "minari") if kind in kinds])
    name = dice.choice([name for name in bases if name.startswith(kind)])
    changes = [_draw_change(dice, kind) for _ in range(dice.choice([1, 1, 1, 2, 3]))]
    changes.sort(key=lambda change: change[0] == "bytes")  # a damaged file is changed no further
    return {"base": name, "changes": changes, "load": _draw_load(dice)}


def kind_of(case: dict) -> str:
    """Format and families, for the table."""
    families = sorted({change[0] for change in case["changes"]})
    mixed = families[0] if len(families) == 1 else "combined"
    return f"{case['base'].split('-')[0]} {mixed}"


def _draw_change(dice, kind):
    family = dice.choice(FAMILIES[kind])
    numbers = [dice.integer(0, 2**20) for _ in range(2)]
    if family == "bytes":
        region = dice.choice(fuzz_files.REGIONS)
        return ["bytes", dice.choice(fuzz_files.DAMAGE), region, *numbers]
    if family == "member":
        inner = dice.choice([*fuzz_files.NPZ_KEYS, "bytes"])
        return ["member", inner, dice.choice(fuzz_files.DAMAGE), *numbers]
    if family == "attribute":
        name = dice.choice(fuzz_files.ATTRIBUTES)
        return ["attribute", name, dice.choice(fuzz_files.ATTRIBUTE_KINDS), *numbers]
    if family == "key":
        name = dice.integer(0, len(fuzz_files.NAMES) - 1)
        return ["key", dice.choice(KEY_CHANGES), name, *numbers]
    types = [*fuzz_arrays.TYPES, *(fuzz_arrays.HDF5_TYPES if kind != "npz" else [])]
    options = {
        "shape": list(fuzz_arrays.SHAPES),
        "type": types,
        "value": list(fuzz_arrays.VALUES),
        "flag": list(fuzz_arrays.FLAGS),
        "rows": ["keep", "repeat", "reverse"],
        "link": list(fuzz_files.HDF5_KEYS),
        "metadata": list(range(len(fuzz_files.BROKEN_JSON))),
        "json": ["drop", *fuzz_files.NOTES],
    }
    return [family, dice.choice(options[family]), *numbers]


def _draw_load(dice):
    how = dice.choice(["all", "all", "all", "rows", "fraction"])
    if how == "rows":
        return {"max_rows": dice.integer(1, 90), "seed": dice.integer(0, 3)}
    if how == "fraction":
        return {"fraction": dice.integer(1, 100) / 100, "seed": dice.integer(0, 3)}
    return {}


# --- applying ---


def build(case: dict) -> None:
    """Writes the case's files into the working folder."""
    for path, data in base(case["base"]).items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(data)
    for change in case["changes"]:
        try:
            _apply(case["base"].split("-")[0], change)
        except Exception:  # it does not apply to what an earlier one left
            continue


def _apply(kind, change):
    family, *rest = change
    files = sorted(str(path) for path in Path().rglob("*") if path.is_file())
    files = [path for path in files if path.startswith(("log.", "made"))]
    if family == "bytes":
        how, region, place, size = rest
        path = Path(files[size % len(files)])
        path.write_bytes(fuzz_files.damage(path.read_bytes(), how, region, place, size))
    elif family == "json":
        fuzz_files.change_json(next(p for p in files if p.endswith(".json")), rest[1], rest[0])
    else:
        arrays = [path for path in files if not path.endswith(".json")]
        store = fuzz_files.NpzArrays if kind == "npz" else fuzz_files.Hdf5Arrays
        store = store(arrays[rest[-1] % len(arrays)])
        try:
            _CHANGES[family](store, *rest)
        finally:
            store.close()


def _pick(keys, n):
    return keys[n % len(keys)]


def _shape(store, how, which, n):
    key = _pick(store.keys(), which)
    store.put(key, fuzz_arrays.SHAPES[how](store.get(key), n))


def _type(store, how, which, n):
    key = _pick(store.keys(), which)
    values = store.get(key)
    if how not in fuzz_arrays.HDF5_TYPES:
        store.put(key, fuzz_arrays.change_type(values, how))
        return
    store.drop(key)
    new = store.file.create_dataset(key, values.shape, fuzz_arrays.HDF5_TYPES[how])
    new[...] = "text" if how == "vlen text" else (values != 0).astype("i1")


def _value(store, how, which, n):
    key = _pick(store.keys(), which)
    store.put(key, fuzz_arrays.change_value(store.get(key), how, n))


def _flag(store, how, which, n):
    every = store.keys()
    key = _pick([key for key in every if key.rpartition("/")[2] in FLAG_KEYS], which)
    store.put(key, fuzz_arrays.FLAGS[how](store.get(key), n))


def _rows(store, how, which, n):
    """The same rows of every array, so that the log stays a log."""
    keys = store.keys()
    rows = len(store.get(_pick([key for key in keys if key.startswith("reward")], 0)))
    wanted = {
        "keep": np.arange(n % rows, n % rows + 1 + which % rows) % rows,
        "repeat": np.arange(rows * (1 + n % 3)) % rows,
        "reverse": np.arange(rows)[::-1],
    }[how]
    for key in keys:
        values = store.get(key)
        if values.shape[:1] == (rows,):
            store.put(key, values[wanted])


def _key(store, how, name, which, n):
    keys, name = store.keys(), fuzz_files.NAMES[name]
    key = _pick(keys, which)
    values = store.get(key)
    if isinstance(name, bytes):  # not UTF-8
        name = os.fsdecode(name)
    if how in ("drop", "rename", "case"):
        store.drop(key)
    if how == "rename":
        store.put(name, values)
    elif how == "copy":
        store.put(key + "2" if n % 2 else name, values)
    elif how == "case":
        store.put(key.upper() if n % 2 else key.title(), values)
    elif how == "junk":
        store.put(name, np.arange(float(n % 100)))
    elif how == "swap":
        other = _pick(keys, n)
        exchanged = store.get(other)
        store.put(key, exchanged)
        store.put(other, values)


def _link(store, how, which, n):
    fuzz_files.HDF5_KEYS[how](store.file, _pick(store.keys(), which), n)


def _attribute(store, name, kind, which, n):
    fuzz_files.change_attribute(store.file, name, kind)


def _metadata(store, which, *numbers):
    text = fuzz_files.BROKEN_JSON[which]
    values = [np.array(text), np.array([text]), np.array(text.encode()), np.arange(2)]
    store.put("metadata", values[0 if numbers[1] % 4 else numbers[0] % 4])


def _member(store, how, damage, which, n):
    members = dict(store.members)
    name = _pick(sorted(members), which)
    if how == "bytes":
        members[name] = fuzz_files.damage(members[name], damage, "head", which, n)
    else:
        members = fuzz_files.NPZ_KEYS[how](members, name, n)
    store.members = list(members.items())
    if n % 16 == 0:  # twice under one name
        store.members.append((name, members[next(iter(members))]))


_CHANGES = {
    "shape": _shape, "type": _type, "value": _value, "flag": _flag, "rows": _rows, "key": _key,
    "link": _link, "attribute": _attribute, "metadata": _metadata, "member": _member,
}  # fmt: skip
