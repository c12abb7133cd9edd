"""moore doctor: what is installed, and what is wrong with it."""

import json

import pytest

import moore
from moore.cli import doctor, main


def test_a_sound_installation_has_no_problem(capsys):
    main(["doctor"])
    text = capsys.readouterr().out
    assert f"moore {moore.__version__}" in text and text.endswith("No problem was found.\n")


def test_machines_read_the_same_facts(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XLA_FLAGS_OF_MINE", "--x")
    main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["moore"] == moore.__version__
    assert found["environment"]["XLA_FLAGS_OF_MINE"] == "--x"
    assert (found["folder"], found["writable"], found["problems"]) == (str(tmp_path), True, [])
    assert found["hardware"]["devices"]


def test_an_extra_that_is_missing_is_named_with_the_command(monkeypatch):
    needed = ['onnx>=1.17; extra == "export"', 'no-such-one>=2; extra == "export"', "numpy>=2.0"]
    needed += ["pytest>=8; extra == 'dev'"]
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda package: needed)
    assert doctor.missing_of_extras() == {"export": ["no-such-one"]}


def test_a_folder_that_cannot_be_written_to_is_a_problem(monkeypatch, capsys):
    def full(**options):
        raise OSError("no space left")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", full)
    with pytest.raises(SystemExit) as stop:
        main(["doctor"])
    assert stop.value.code == 1
    assert "problem: Nothing can be written to" in capsys.readouterr().out


def test_a_device_that_cannot_compute_is_a_problem(monkeypatch):
    import jax.numpy as jnp

    monkeypatch.setattr(jnp, "ones", lambda shape: (_ for _ in ()).throw(RuntimeError("no device")))
    assert doctor._of_jax() == "JAX cannot compute: no device."
