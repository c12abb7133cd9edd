"""Metadata and reference scores of a log as attributes of a flat HDF5 file."""

import json
from typing import TypeGuard

import h5py

from moore.data.log import Log
from moore.evaluation.scores import ReferenceScores, reference_scores
from moore.formats.hdf5_tree import scalar

_METADATA = "moore_metadata"  # attribute: what is neither number nor text, a JSON object
_REFERENCE = "ref_min_score and ref_max_score"


def read_metadata(attributes: h5py.AttributeManager) -> dict[str, object]:
    """The file's scalar attributes, and the JSON object in one of them, as metadata."""
    stored = {key: scalar(attributes[key]) for key in attributes}  # items() passes over damage
    scalars: dict[str, object] = {k: value for k, value in stored.items() if value is not None}
    try:
        return scalars | dict(json.loads(str(scalars.pop(_METADATA, "{}"))))
    except (TypeError, ValueError, RecursionError):  # somebody else's attribute
        return dict(scalars)


def attributes_of(log: Log) -> dict[str, str | bool | int | float]:
    """The attributes that hold the metadata, the id and the reference scores of the log."""
    metadata = {key: value for key, value in log.metadata.items() if key != "env_id" or value}
    if log.env_id is not None:
        metadata["env_id"] = log.env_id
    reference = log.reference
    if reference is not None and reference != reference_scores(log.env_id):
        scores = {"ref_min_score": reference.random, "ref_max_score": reference.expert}
        metadata |= {key: new for key, new in scores.items() if metadata.get(key) != new}
        if reference.source != _REFERENCE:
            metadata["ref_source"] = reference.source
    plain = {key: value for key, value in metadata.items() if _fits_attribute(value, key)}
    rest = {key: value for key, value in metadata.items() if key not in plain}
    return plain | ({_METADATA: json.dumps(rest, sort_keys=True)} if rest else {})


def _fits_attribute(value: object, key: str) -> TypeGuard[str | bool | int | float]:
    if isinstance(value, int):
        return bool(key) and -(2**63) <= value < 2**63
    text = key + value if isinstance(value, str) else key
    fits = isinstance(value, str | float) and bool(key) and "\0" not in text
    return fits and text == text.encode(errors="ignore").decode()


def read_reference(metadata: dict[str, object], env_id: str | None) -> ReferenceScores | None:
    """The scores that the file states; else those that are known of its environment."""
    low, high = metadata.get("ref_min_score"), metadata.get("ref_max_score")
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return reference_scores(env_id)
    source = metadata.get("ref_source", _REFERENCE)
    return ReferenceScores(float(low), float(high), source=str(source))
