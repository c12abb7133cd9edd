"""The files between a session's two processes: what is read is whole, or waits."""

import json

import jax
import numpy as np
import pytest

from made_policies import made
from moore.errors import InputError
from moore.formats.live_records import Records, name_of
from moore.sessions import following
from moore.sessions.following import Following
from moore.sessions.journal import Journal
from moore.sessions.publication import (
    Publication,
    drop_policies,
    last_number,
    read_policy,
    read_publication,
    write_policy,
    write_publication,
)


def gaps(*units):
    return [{"kind": "gap", "unit": unit} for unit in units]


@pytest.fixture
def journal(tmp_path):
    """Begins the next file of a log."""
    opened = []

    def begin():
        before = Records(tmp_path)
        list(before)
        opened.append(Journal(tmp_path, {"session": "s", "patience": 5}, before))
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


class TestFollowing:
    def test_every_record_comes_once_as_soon_as_it_is_whole(self, journal, tmp_path):
        follows, writer = Following(tmp_path), journal()
        assert list(follows.new()) == []
        writer.write(gaps(1, 2))
        assert list(follows.new()) == gaps(1, 2)
        content = (tmp_path / name_of(1)).read_bytes()
        writer.write(gaps(3))
        whole = (tmp_path / name_of(1)).read_bytes()
        for size in range(len(content), len(whole)):
            (tmp_path / name_of(1)).write_bytes(whole[:size])
            assert list(follows.new()) == []
        (tmp_path / name_of(1)).write_bytes(whole)
        assert list(follows.new()) == gaps(3) and list(follows.new()) == []

    def test_it_goes_on_in_the_next_file_without_what_was_cut(self, journal, tmp_path):
        follows, writer = Following(tmp_path), journal()
        writer.write(gaps(1, 2))
        content = (tmp_path / name_of(1)).read_bytes()
        (tmp_path / name_of(1)).write_bytes(content[:-5])
        assert list(follows.new()) == gaps(1)
        journal().write(gaps(3))
        assert list(follows.new()) + list(follows.new()) == gaps(3)

    def test_a_large_log_is_read_in_pieces(self, journal, tmp_path, monkeypatch):
        monkeypatch.setattr(following, "CHUNK", 100)
        journal().write(gaps(*range(20)))
        journal().write(gaps(*range(20, 40)))
        follows, found, calls = Following(tmp_path), [], 0
        while len(found) < 40 and calls < 100:
            found, calls = found + list(follows.new()), calls + 1
        assert found == gaps(*range(40)) and calls > 10

    def test_what_was_altered_is_refused(self, journal, tmp_path):
        follows, writer = Following(tmp_path), journal()
        writer.write(gaps(1))
        list(follows.new())
        content = (tmp_path / name_of(1)).read_bytes()
        (tmp_path / name_of(1)).write_bytes(content + b'{"kind": "gap", "crc": "00000000"}\n')
        with pytest.raises(InputError, match="line 3 does not match its checksum"):
            list(follows.new())
        (tmp_path / name_of(1)).write_bytes(content[:-1])
        with pytest.raises(InputError, match="is shorter than before"):
            list(follows.new())


class TestPublications:
    def test_one_that_is_damaged_is_none(self, tmp_path):
        assert read_publication(tmp_path) is None
        told = Publication("launch", policy=3, verdict=True, steps=7)
        write_publication(tmp_path, told)
        assert read_publication(tmp_path) == told
        (state,) = tmp_path.glob("*.json")
        altered = json.loads(state.read_text()) | {"policy": 4}
        for text in (json.dumps(altered), state.read_text()[:-9], "[1]", '{"hash": 1}'):
            state.write_text(text)
            assert read_publication(tmp_path) is None

    @pytest.mark.parametrize("name", ["sac", "iql", "adaptive_bc", "balanced_replay"])
    def test_a_policy_comes_back_as_it_was(self, tmp_path, name):
        policy, other = made(name), made(name, seed=1)
        write_policy(tmp_path, 12, policy.weights, durable=True)
        found = read_policy(tmp_path, 12, other.weights)
        for one, same in zip(jax.tree.leaves(found), jax.tree.leaves(policy.weights), strict=True):
            np.testing.assert_array_equal(one, same)
        assert jax.tree.structure(found) == jax.tree.structure(policy.weights)

    def test_one_that_is_damaged_or_missing_is_refused(self, tmp_path):
        write_policy(tmp_path, 1, made().weights, durable=False)
        (file,) = tmp_path.iterdir()
        file.write_bytes(file.read_bytes()[:-1] + b"x")
        with pytest.raises(InputError, match=r"policy 1 of .* does not match its hash"):
            read_policy(tmp_path, 1, made().weights)
        with pytest.raises(InputError, match=r"policy 2 of .* is not there"):
            read_policy(tmp_path, 2, made().weights)

    def test_old_policies_are_dropped(self, tmp_path):
        for number in (1, 2, 10):
            write_policy(tmp_path, number, made().weights, durable=False)
        assert last_number(tmp_path) == 10
        drop_policies(tmp_path, before=2)
        assert len(list(tmp_path.iterdir())) == 2 and last_number(tmp_path) == 10
