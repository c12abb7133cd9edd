"""Every number that a run writes is explained in the documents."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from moore.runs.folder import read_metrics

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "moore"
# Where names of metrics stand because they are read, not written.
READERS = ("reports", "watching", "cli")
_GROUPS = "eval|online|model|replay|losses|theory|gate|budget|clone|time|charts"
_NAME = re.compile(rf"(?:{_GROUPS})/[a-zA-Z0-9_]+")


def documented() -> set[str]:
    """The names that a page explains; the dip budget and the theory have pages of their own."""
    pages = ("metrics.md", "budget.md", "theory.md")
    texts = [(ROOT / "docs" / page).read_text(encoding="utf-8") for page in pages]
    return {name for text in texts for name in re.findall(rf"`({_NAME.pattern})`", text)}


def written_in(path: Path) -> Iterator[str]:
    """Names of metrics in a source, and in an agent the names of what `update` returns."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if _NAME.fullmatch(node.value):
                yield node.value
        elif isinstance(node, ast.Dict) and path.parent.name == "agents":
            keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
            if {"critic_loss", "actor_loss", "conservative", "logged_share"} & set(keys):
                yield from (f"losses/{key}" for key in keys)


def test_every_metric_in_the_sources_is_explained():
    written = {
        name
        for path in SOURCES.rglob("*.py")
        if path.relative_to(SOURCES).parts[0] not in READERS
        for name in written_in(path)
    }
    assert {"eval/return", "losses/bc_weight", "budget/margin"} <= written
    assert sorted(written - documented()) == []


def test_every_metric_of_a_run_is_explained(tiny_run):
    rows = read_metrics(tiny_run.folder / "metrics.jsonl")
    written = {name for row in rows for name in row if "/" in name}
    assert {"model/holdout_mse", "time/epoch"} <= written
    assert sorted(written - documented()) == []
