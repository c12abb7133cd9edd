"""The configuration: what may stand in it, and what it refuses."""

import dataclasses
import os
import re
import tomllib
import typing

import pytest

from moore.cli.field_help import texts_under_fields
from moore.config import Config, OnlineConfig, flat, from_dict, read_toml, to_dict, to_toml
from moore.errors import InputError
from moore.presets import preset, preset_names
from moore.ranges import AllowedNumbers, notes_of
from moore.replay.schemes import SCHEMES, parse_scheme


def nested(name: str, value) -> dict:
    """{"online": {"epochs": 100}} from "online.epochs"."""
    *tables, last = name.split(".")
    values = {last: value}
    for table in reversed(tables):
        values = {table: values}
    return values


# --- TOML and back ---


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_comes_back_from_toml_as_it_was(name, tmp_path):
    config = preset(name)
    assert from_dict(tomllib.loads(to_toml(config))) == config
    (tmp_path / "config.toml").write_text(to_toml(config))
    assert read_toml(tmp_path / "config.toml") == config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("evaluation.threshold", -12.5),
        ("imagined_bound", 100.0),
        ("sac.hidden", (32, 16)),
        ("online.scheme", "moore:0.5"),
        ("tensorboard", True),
        ("termination", "my_plant.rules:ends"),
        ("dataset", 'C:\\logs\\"a".hdf5,ü.npz'),
    ],
)
def test_a_changed_setting_comes_back_from_toml(name, value):
    config = from_dict(nested(name, value))
    assert flat(to_dict(config))[name] == value
    assert from_dict(tomllib.loads(to_toml(config))) == config


def test_every_setting_is_written_except_those_that_are_none():
    written = flat(tomllib.loads(to_toml(Config())))
    everything = flat(dataclasses.asdict(Config()))
    none = {name for name, value in everything.items() if value is None}
    assert {"max_rows", "sac.target_entropy", "online.penalty_coef"} <= none
    assert {name for name in everything if name not in written} == none


@pytest.mark.parametrize(
    "name", ["awac.max_weight", "iql.decay_updates", "rlpd.critic_subset", "wsrl.critic_subset"]
)
def test_none_comes_back_from_toml_where_it_is_not_the_default(name):
    config = from_dict(nested(name, "none"))
    assert flat(dataclasses.asdict(config))[name] is None
    assert from_dict(tomllib.loads(to_toml(config))) == config


def test_none_is_refused_where_a_value_is_needed():
    with pytest.raises(InputError, match="'seed' is 'none'"):
        from_dict({"seed": "none"})


def test_values_go_over_a_base_and_leave_the_rest():
    base = from_dict({"seed": 3, "online": {"epochs": 7}})
    config = from_dict({"online": {"alpha": 2.0}}, base=base)
    assert (config.seed, config.online.epochs, config.online.alpha) == (3, 7, 2.0)
    assert base.online.alpha == OnlineConfig().alpha


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no configuration"),
        (b"seed = ", "not valid TOML"),
        (b"seed = 1\nseed = 2", "not valid TOML"),
        (b"\xff\xfe\x00", "not valid TOML"),
        (b"seeds = 1", "unknown setting 'seeds'"),
    ],
    ids=["missing", "cut short", "given twice", "not text", "unknown setting"],
)
def test_an_unreadable_file_is_bad_input(content, message, tmp_path):
    path = tmp_path / "config.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_toml(path)


def test_a_folder_and_a_path_below_a_file_are_bad_input(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "config.toml"):
        with pytest.raises(InputError, match=re.escape(str(path))):
            read_toml(path)


# --- Names and types ---


@pytest.mark.parametrize("name", ["bogus", "online.bogus", "model.bogus", "evaluation.bogus"])
def test_an_unknown_name_lists_the_known_ones(name):
    table = Config() if "." not in name else getattr(Config(), name.split(".")[0])
    with pytest.raises(InputError, match=f"unknown setting '{re.escape(name)}'") as caught:
        from_dict(nested(name, 1))
    listed = str(caught.value).split("the known ones are ")[1].rstrip(".").split(", ")
    assert listed == [item.name for item in dataclasses.fields(table)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 1.0),
        ("seed", "1"),
        ("seed", True),
        ("seed", None),
        ("seed", [1]),
        ("dataset", 3),
        ("dataset", ["a.npz", "b.npz"]),
        ("tensorboard", 1),
        ("tensorboard", "yes"),
        ("penalty_coef", "1.0"),
        ("penalty_coef", True),
        ("online.epochs", 10.0),
        ("online.alpha", "1"),
        ("online.scheme", 1),
        ("evaluation.threshold", "high"),
        ("model.hidden", 200),
        ("model.hidden", [200, "200"]),
        ("model.hidden", [200.0]),
        ("model.weight_decay", [0.1, None]),
        ("online", 5),
        ("online", [5]),
        ("seed", {"value": 1}),
    ],
    ids=repr,
)
def test_a_value_of_the_wrong_type_is_refused_by_name(name, value):
    with pytest.raises(InputError, match=f"'{re.escape(name)}' is ") as caught:
        from_dict(nested(name, value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["penalty_coef", "online.alpha", "evaluation.threshold"])
def test_an_integer_stands_for_a_float(name):
    value = flat(to_dict(from_dict(nested(name, 2))))[name]
    assert (value, type(value)) == (2.0, float)


def test_a_list_stands_for_a_tuple():
    config = from_dict({"sac": {"hidden": [32, 16]}, "model": {"weight_decay": [0, 0, 0, 0, 0, 1]}})
    assert config.sac.hidden == (32, 16)
    assert config.model.weight_decay == (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    assert all(type(value) is float for value in config.model.weight_decay)
    assert hash(config) == hash(from_dict(to_dict(config)))


# --- Ranges ---


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),
        ("rollout_length", 0),
        ("rollout_chunk", 0),
        ("checkpoint_every", 0),
        ("penalty_coef", -0.1),
        ("penalty_coef", float("nan")),
        ("imagined_bound", 0.0),
        ("model.members", 0),
        ("model.elites", 0),
        ("model.hidden", [200, 0, 200, 200]),
        ("model.weight_decay", [0.0, 0.0, 0.0, 0.0, 0.0, -1e-4]),
        ("model.learning_rate", 0.0),
        ("model.holdout_fraction", 1.5),
        ("model.max_fit_steps", 0),
        ("sac.discount", 1.01),
        ("sac.discount", -0.1),
        ("sac.target_rate", 2.0),
        ("sac.batch_size", 0),
        ("sac.target_entropy", float("nan")),
        ("offline.epochs", -1),
        ("offline.updates_per_epoch", 0),
        ("offline.real_ratio", 1.01),
        ("online.epochs", -1),
        ("online.steps_per_epoch", 0),
        ("online.refit_every", -250),
        ("online.rollout_batch", 0),
        ("online.retain_epochs", 0),
        ("online.updates_per_step", 0),
        ("online.real_ratio", -0.5),
        ("online.alpha", 0.0),
        ("online.alpha", -1.0),
        ("online.alpha", float("nan")),
        ("evaluation.episodes", -1),
        ("evaluation.threshold", float("nan")),
    ],
    ids=repr,
)
def test_a_number_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(InputError, match=rf"^{re.escape(name)} is "):
        from_dict(nested(name, value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cql.conservative_weight", 0.0),
        ("adaptive_bc.online_bc_weight", 0.0),
        ("seed", 0),
        ("penalty_coef", 0.0),
        ("offline.epochs", 0),
        ("online.epochs", 0),
        ("offline.real_ratio", 1.0),
        ("sac.discount", 1.0),
        ("sac.target_entropy", -6.0),
        ("evaluation.threshold", -1000.0),
    ],
    ids=repr,
)
def test_the_borders_of_the_ranges_are_allowed(name, value):
    assert flat(to_dict(from_dict(nested(name, value))))[name] == value


def test_no_more_elites_than_members():
    assert from_dict({"model": {"members": 5, "elites": 5}}).model.elites == 5
    with pytest.raises(InputError, match=r"model\.elites is 6; .* between 1 and .* \(5\)"):
        from_dict({"model": {"members": 5, "elites": 6}})


@pytest.mark.parametrize(("hidden", "entries"), [((64, 64), 4), ((64,), 3), ((), 2)])
def test_one_weight_decay_a_layer_and_head(hidden, entries):
    table = {"hidden": hidden, "weight_decay": (0.0,) * entries}
    assert from_dict({"model": table}).model.hidden == hidden
    for wrong in (entries - 1, entries + 1):
        with pytest.raises(InputError, match=rf"has {wrong} entries; .* need {entries}"):
            from_dict({"model": table | {"weight_decay": (0.0,) * wrong}})


@pytest.mark.parametrize(("steps", "every"), [(1000, 300), (100, 250)])
def test_an_epoch_is_a_whole_number_of_refits(steps, every):
    with pytest.raises(InputError, match=rf"\({steps}\) must be a multiple of .* \({every}\)"):
        from_dict({"online": {"steps_per_epoch": steps, "refit_every": every}})


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        ("bogus", "the known ones are moore.*, uniform, half_half"),
        ("", "unknown scheme"),
        ("moore:0", "positive"),
        ("moore:-1", "positive"),
        ("moore:nan", "alpha"),
        ("moore:ten", "takes numbers"),
        ("uniform:2", "takes no parameter"),
    ],
)
def test_a_wrong_scheme_is_refused(scheme, message):
    with pytest.raises(InputError, match=message):
        from_dict({"online": {"scheme": scheme}})


def test_a_known_scheme_is_read_once_for_the_check_and_for_the_run():
    config = from_dict({"online": {"scheme": "peak_shift:0.02", "steps_per_epoch": 500}})
    scheme = config.online.parsed_scheme()
    assert scheme is parse_scheme("peak_shift:0.02", steps_per_epoch=500)
    assert str(scheme) == "peak_shift:0.02"


def test_alpha_goes_with_a_plain_moore_and_not_with_one_that_has_its_own():
    for scheme, alpha, told in [("moore", 2.0, "moore:2"), ("moore:0.5", 2.0, "moore:0.5")]:
        online = from_dict({"online": {"scheme": scheme, "alpha": alpha}}).online
        assert str(online.parsed_scheme()) == told


def test_reading_a_configuration_does_not_import_the_user_s_scheme():
    config = from_dict({"online": {"scheme": "not_there_at_all:near"}})
    with pytest.raises(InputError, match="not_there_at_all"):
        config.online.parsed_scheme()


def test_replacing_a_field_is_checked_too():
    with pytest.raises(InputError, match="rollout_length is 0"):
        dataclasses.replace(Config(), rollout_length=0)


def test_a_configuration_cannot_be_altered():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().seed = 1


# --- Beside every field: its bounds and its help ---


def _fields(section: type, prefix: str = ""):
    """Every setting: its name, its type with the bounds, and the text under its field."""
    texts = texts_under_fields(section)
    for name, hint in typing.get_type_hints(section, include_extras=True).items():
        yield prefix + name, hint, texts.get(name, "")
        if dataclasses.is_dataclass(hint):
            yield from _fields(hint, f"{prefix}{name}.")


FIELDS = {name: (hint, text) for name, hint, text in _fields(Config)}


@pytest.mark.parametrize("name", FIELDS)
def test_a_setting_has_its_help_under_its_field_in_whole_sentences(name):
    text = FIELDS[name][1]
    assert text.endswith(".")
    symbol = r"(alpha|beta|gamma|epsilon|lambda|phi|sigma|rho|tau|a_bc|f\(d, t\)|[nuw])(?!\w)"
    assert re.match(rf"[A-Z]|{symbol}", text), "a capital, or the paper's symbol"


def test_the_help_of_the_scheme_names_every_scheme():
    text = FIELDS["online.scheme"][1]
    usages = [known.usage for name, known in SCHEMES.items() if name != "moore"]
    assert "One of moore, " in text and [usage for usage in usages if usage not in text] == []


def _has_numbers(hint) -> bool:
    return hint in (int, float) or any(map(_has_numbers, typing.get_args(hint)))


@pytest.mark.parametrize("name", FIELDS)
def test_a_number_has_its_bounds_in_its_type(name):
    hint = FIELDS[name][0]
    bounds = [note for note in notes_of(hint) if isinstance(note, AllowedNumbers)]
    assert bool(bounds) is _has_numbers(hint)


# --- Numbers that no run can use ---


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"balanced_replay": {"initial_online_share": 1.0}}, "must lie below 1"),
        ({"sac": {"hidden": [8] * 20_000}}, "20000 entries"),
        ({"sac": {"batch_size": 2**31}}, "at most"),
        ({"penalty_coef": 1e39}, "at most"),
        ({"penalty_coef": 10**400}, "too large"),
        ({"seed": -1}, "must not be negative"),
        ({"seed": 2**63}, "below"),
    ],
)
def test_numbers_that_no_run_can_use_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        from_dict(settings)


def _numbers(section, prefix=()):
    for item in dataclasses.fields(section):
        value = getattr(section, item.name)
        if dataclasses.is_dataclass(value):
            yield from _numbers(value, (*prefix, item.name))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield (*prefix, item.name)


def test_every_number_is_taken_or_refused_in_one_line():
    usual = Config()
    for *tables, name in _numbers(usual):
        for value in (0, 1, -1, 0.0, 0.5, 1.0, 2**31, 10**400, 1e39, float("nan"), float("inf")):
            settings = {name: value}
            for table in reversed(tables):
                settings = {table: settings}
            try:
                from_dict(settings, base=usual)
            except InputError as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize("name", ["dataset", "columns", "env_id"])
def test_a_name_that_no_file_can_hold_is_refused(name):
    with pytest.raises(InputError, match=f"{name} .*no text in UTF-8"):
        Config(**{name: os.fsdecode(b"log-\xff.npz")})
