"""Runs in a store: what is sent, in which order, what is brought, and how a run goes on."""

import json
import shutil
from pathlib import Path

import pytest

fsspec = pytest.importorskip("fsspec")

from made_logs import refuses  # noqa: E402
from moore.config import to_dict  # noqa: E402
from moore.errors import WriteError  # noqa: E402
from moore.files import locked  # noqa: E402
from moore.formats.npz import write_npz  # noqa: E402
from moore.runs import mirror as mirrors  # noqa: E402
from moore.runs.mirror import Mirror, brought, is_url, working_folder  # noqa: E402
from moore.runs.run import resume, run  # noqa: E402
from moore.sweeps.cell import Cell  # noqa: E402
from moore.sweeps.grid import Grid, cells  # noqa: E402
from moore.sweeps.sweep import sweep  # noqa: E402
from tiny import ENV, quick_config, tiny_log  # noqa: E402


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Working folders of this test alone, and an empty store in memory."""
    monkeypatch.setenv("MOORE_MIRRORS", str(tmp_path / "mirrors"))
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    return store


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def content(store, root: str) -> dict[str, str]:
    return {path: store.cat_file(path).decode() for path in store.find(root)}


@pytest.mark.parametrize(
    ("place", "is_one"),
    [
        ("s3://a/b", True),
        ("memory://x", True),
        ("a/b", False),
        (Path("s3:/a"), False),
        (None, False),
    ],
)
def test_a_url_names_its_protocol(place, is_one):
    assert is_url(place) == is_one


def test_each_url_has_a_working_folder_of_its_own():
    a, b, again = map(working_folder, ("memory://x/run", "memory://y/run", "memory://x/run/"))
    assert a == again != b and a.name == b.name == "run"
    assert working_folder("runs/a") == Path("runs/a")


def test_only_what_has_changed_is_sent_and_what_is_gone_is_deleted(home, monkeypatch):
    mirror = Mirror("memory://runs/a")
    write(mirror.folder, config="1", metrics="1", old__x="1", **{".lock": "", ".p__y": ""})
    mirror.push()
    assert set(content(home, "/runs")) == {"/runs/a/config", "/runs/a/metrics", "/runs/a/old/x"}
    shutil.rmtree(mirror.folder / "old")
    write(mirror.folder, metrics="1 2")
    sent = []
    put = type(home).put_file
    monkeypatch.setattr(
        type(home), "put_file", lambda fs, a, b, **k: (sent.append(b), put(fs, a, b, **k))
    )
    mirror.push()
    assert [Path(path).name for path in sent] == ["metrics"]
    assert content(home, "/runs") == {"/runs/a/config": "1", "/runs/a/metrics": "1 2"}


def test_a_manifest_is_sent_after_its_arrays_and_the_metrics_before(home, monkeypatch):
    mirror, sent = Mirror("memory://runs/a"), []
    write(
        mirror.folder, policy__weights="", **{
            "summary.json": "", "metrics.jsonl": "", "checkpoints__plan.json": "",
            "checkpoints__e1__manifest.json": "", "checkpoints__e1__state.safetensors": "",
        },
    )  # fmt: skip
    monkeypatch.setattr(
        type(home), "put_file", lambda fs, a, b, **k: sent.append(b.partition("runs/a/")[2])
    )
    mirror.push()
    assert sent == [
        "metrics.jsonl", "policy/weights", "checkpoints/e1/state.safetensors",
        "checkpoints/e1/manifest.json", "checkpoints/plan.json", "summary.json",
    ]  # fmt: skip


def test_what_is_brought_is_what_the_store_holds(home):
    mirror = Mirror("memory://runs/a")
    write(mirror.folder, metrics="1", checkpoints__e1__state="s", config="c")
    mirror.push()
    write(mirror.folder, metrics="1 2", more="x")  # by a node that was lost before it could send
    other = Mirror("memory://runs/a")
    assert other.pull() == mirror.folder
    assert (other.folder / "metrics").read_text() == "1"
    assert not (other.folder / "more").exists()
    (other.folder / "config").unlink()
    other.push()
    assert "/runs/a/config" not in content(home, "/runs")


def test_a_folder_in_which_a_process_works_is_left_alone(home):
    mirror = Mirror("memory://runs/a")
    write(mirror.folder, metrics="1")
    with locked(mirror.folder):
        refuses("another process is writing", Mirror("memory://runs/a").pull)
    assert (mirror.folder / "metrics").read_text() == "1"
    mirror.pull()  # the store holds nothing
    assert not mirror.folder.exists()


def test_a_store_that_refuses_loses_nothing_here(home, monkeypatch):
    mirror = Mirror("memory://runs/a")
    write(mirror.folder, metrics="1")

    def refuse(*_, **__):
        raise PermissionError("not\nallowed")

    with monkeypatch.context() as broken:
        broken.setattr(type(home), "put_file", refuse)
        with pytest.raises(WriteError, match=r"memory://runs/a cannot be written \(not allowed\)"):
            mirror.push()
    mirror.push()
    assert content(home, "/runs") == {"/runs/a/metrics": "1"}
    refuses("cannot be opened", Mirror, "nosuch://a")


def stop_at(epoch):
    def stop(row, state):
        del state
        if row["epoch"] == epoch:
            raise KeyboardInterrupt
        return False

    return stop


def test_a_run_in_a_store_goes_on_on_another_machine(home, tmp_path, monkeypatch):
    how = {"dataset": tiny_log(), "env": ENV, "quiet": True}
    whole = run(quick_config(), out=tmp_path / "whole", **how)
    url = "memory://bucket/runs/a"
    with pytest.raises(KeyboardInterrupt):
        run(quick_config(), out=url, until=stop_at(2), **how)
    refuses("already exists and is not empty", run, quick_config(), out=url, **how)
    monkeypatch.setenv("MOORE_MIRRORS", str(tmp_path / "elsewhere"))
    again = resume(url, dataset=tiny_log(), env=ENV, quiet=True)
    assert again.folder.is_relative_to(tmp_path / "elsewhere")
    assert again.summary["transfer"] == whole.summary["transfer"]
    stored = json.loads(home.cat_file("/bucket/runs/a/summary.json"))
    assert stored["transfer"] == json.loads(json.dumps(whole.summary["transfer"]))


def test_a_checkpoint_whose_sending_was_cut_short_is_passed_over(home, tmp_path):
    url, how = "memory://bucket/runs/a", {"dataset": tiny_log(), "env": ENV, "quiet": True}
    whole = run(quick_config(), out=tmp_path / "whole", **how)
    with pytest.raises(KeyboardInterrupt):
        run(quick_config(), out=url, until=stop_at(3), **how)
    newest = sorted(p for p in home.find("/bucket") if "online-epoch" in p and "state" in p)[-1]
    home.pipe_file(newest, home.cat_file(newest)[:-50])
    again = resume(url, dataset=tiny_log(), env=ENV, quiet=True)
    assert again.summary["transfer"] == whole.summary["transfer"]


def test_a_run_keeps_going_while_the_store_is_away_and_fails_in_the_end(home, monkeypatch, capsys):
    def away(*_, **__):
        raise OSError("away")

    monkeypatch.setattr(type(home), "put_file", away)
    with pytest.raises(WriteError, match="the run is whole in"):
        run(quick_config(), out="memory://b/a", dataset=tiny_log(), env=ENV)
    assert "memory://b/a cannot be written (away)" in capsys.readouterr().err
    assert (working_folder("memory://b/a") / "summary.json").exists()


def test_a_sweep_in_a_store_knows_what_is_done(tmp_path, monkeypatch):
    import gymnasium as gym

    gym.register("MirroredLinear-v0", entry_point="tiny:LinearGaussian", max_episode_steps=20)
    write_npz(tmp_path / "log.npz", tiny_log())
    config = quick_config(env_id="MirroredLinear-v0", dataset=str(tmp_path / "log.npz"))
    url = f"file://{tmp_path / 'store'}"
    offline = Cell(f"{url}/offline/a", to_dict(config), "offline")
    planned = [offline, Cell(f"{url}/a", to_dict(config), "online", offline.folder)]
    first = sweep(planned, together=True, quiet=True)
    assert first.done == [cell.folder for cell in planned] and not first.failed
    assert (tmp_path / "store" / "a" / "summary.json").is_file()
    monkeypatch.setenv("MOORE_MIRRORS", str(tmp_path / "elsewhere"))
    assert all(cell.done for cell in planned)
    assert brought(planned[1].folder) == mirrors.working_folder(planned[1].folder)


def test_the_cells_of_a_sweep_in_a_store_lie_below_its_url():
    folders = [cell.folder for cell in cells(Grid(schemes=("moore:1",)), "s3://bucket/sweep")]
    assert folders[0].startswith("s3://bucket/sweep/offline/")
    assert folders[1].startswith("s3://bucket/sweep/Pendulum-v1")
