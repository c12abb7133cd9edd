"""A session over HTTP: the same calls and the same actions."""

import dataclasses
import json
import struct

import numpy as np
import pytest

from moore.guarding.guard import GuardAlarm
from moore.guarding.signals import Limit
from moore.guarding.supervision import GuardSettings
from moore.serving.forms import F32, JSON
from moore.serving.limits import ServerLimits
from moore.sessions.session import Session
from moore.sessions.telling import plain_status
from moore.sessions.watched import UnitStanding
from moore.stages.learner import Learner
from served import OBS, old, refused


def outcomes(session):
    """What the session's log says of outcomes."""
    lines = next(session.log.iterdir()).read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return [record | {"crc": ""} for record in found if record["kind"] == "observe"]


class TestCalls:
    def test_the_actions_are_those_of_the_session(self, served, begin_served):
        server, twin = served(begin_served()), begin_served()
        for step in range(3):
            told = {"reward": 1.0, "next_obs": OBS, "truncated": step == 2}
            assert server.post("act", {"obs": OBS}) == (200, {"action": twin.act(OBS).tolist()})
            assert server.post("observe", told) == (200, {"step": twin.observe(**told)})

    def test_bare_numbers_say_the_same_as_json(self, served, begin_served):
        one, other = served(begin_served()), served(begin_served())
        _, content = one.post("act", {"obs": [[0.5], [0.25]], "unit": ["north", 7]})
        body, query = struct.pack("<2f", 0.5, 0.25), "unit=north&unit=7"
        status, action = other.post("act", body, kind=F32, query=query)
        assert status == 200
        assert np.frombuffer(action, "<f4").tolist() == np.ravel(content["action"]).tolist()
        rows = struct.pack("<8f", 1.0, 0, 1, 0.125, 2.0, 1, 0, 0.125)
        status, steps = other.post("observe", rows, kind=F32, query=query)
        assert status == 200 and struct.unpack("<2I", steps) == (1, 2)
        told = {"reward": [1, 2], "terminated": [False, True], "truncated": [True, False]}
        one.post("observe", told | {"next_obs": [[0.125], [0.125]], "unit": ["north", 7]})
        assert outcomes(one.session) == outcomes(other.session)

    def test_a_reward_may_come_late_and_null_is_a_bad_reading(self, served):
        server = served()
        server.post("act", {"obs": [None], "unit": "late"})
        step = server.post("observe", {"next_obs": OBS, "unit": "late"})[1]["step"]
        units = server.ask("GET", "/v1/status")[1]["units"]
        assert {"unit": "late", "open": 1, "awaited": None} in units
        assert server.post("reward", {"step": step, "reward": "not measured"}) == (200, {})
        again = server.post("reward", {"step": step, "reward": 1})
        assert refused(again) == (409, "out_of_turn")

    def test_episodes_and_rows_of_others_are_taken(self, served):
        server = served()
        before = server.session.status.steps
        told = {"obs": [[0], [1], [2]], "action": [[0], [1]], "reward": [1, None]}
        assert server.post("episode", told)[1] == {"step": [before + 1, before + 2]}
        body = struct.pack("<7f", 0, 0, 1, 1, 1, 2, 2)
        status, steps = server.post("episode", body, kind=F32, query="terminated=1&unit=x")
        assert status == 200 and struct.unpack("<2I", steps) == (before + 3, before + 4)
        rows = {"obs": [[0], [1]], "action": [[0], [0]], "reward": [1, 2]}
        rows |= {"next_obs": [[1], [2]], "terminated": [False, True]}
        assert server.post("log", rows) == (200, {"steps": 2})
        assert server.post("gap", {"unit": "x"}) == (200, {})
        assert server.session.status.steps == before + 6

    def test_the_status_says_how_the_session_stands(self, served):
        server = served()
        server.post("act", {"obs": OBS, "unit": "north"})
        status, told = server.ask("GET", "/v1/status")
        assert status == 200
        assert {"unit": "north", "open": 1, "awaited": told["steps"]} in told["units"]
        assert (told["obs_size"], told["action_high"]) == (1, [2.0])
        assert told["learning"] == {"wanted": False, "between": False, "failed": False}
        assert told["gate"] is told["budget"] is None
        assert len(told["policy"]) == 64

    def test_a_budget_without_end_is_null_in_json(self, shared_session):
        told = dataclasses.replace(
            shared_session.status, budget={"margin": float("inf"), "spent": 1.0}
        )
        assert plain_status(told)["budget"] == {"margin": None, "spent": 1.0}

    def test_a_unit_beside_a_controller_says_who_acts_and_why(self, shared_session):
        standing = {
            "north": UnitStanding("old", "The mode is shadow.", True, "", fault="It failed.")
        }
        told = plain_status(
            dataclasses.replace(shared_session.status, mode="shadow", standing=standing)
        )
        assert told["mode"] == "shadow"
        unit = next(one for one in told["units"] if one["unit"] == "north")
        assert (unit["actor"], unit["why"]) == ("old", "The mode is shadow.")
        assert unit["fault"] == "It failed."

    def test_it_can_be_saved(self, served):
        server = served()
        before = sorted((server.session.folder / "checkpoints").iterdir())
        assert server.post("save") == (200, {})
        assert sorted((server.session.folder / "checkpoints").iterdir()) > before


class TestModes:
    """Beside a controller that ran before, with a guard that watches a signal."""

    @pytest.fixture
    def server(self, served, begin_served):
        guard = GuardSettings(returns=None, limits=[Limit("level", high=1.0)])
        return served(begin_served(controller=old, guard=guard))

    def cycle(self, server, level):
        """Who acted, and how the unit stands after a step with this reading of the signal."""
        assert server.post("act", {"obs": OBS})[0] == 200
        told = {"reward": 1.0, "next_obs": OBS, "signals": {"level": level}}
        assert server.post("observe", told)[0] == 200
        status = server.ask("GET", "/v1/status")[1]
        return status["mode"], status["units"][0]

    def test_a_mode_holds_from_the_next_action_on(self, server):
        mode, unit = self.cycle(server, 0.5)
        assert (mode, unit["actor"], unit["why"]) == ("shadow", "old", "The mode is shadow.")
        assert server.post("mode", {"mode": "on"}) == (200, {"mode": "on"})
        mode, unit = self.cycle(server, 0.5)
        assert (mode, unit["actor"], unit["trusted"], unit["alarm"]) == ("on", "new", True, "")
        assert server.post("mode", {"mode": "off"})[0] == 200
        assert self.cycle(server, 0.5)[1]["actor"] == "old"

    def test_an_alarm_is_told_and_can_be_acknowledged(self, server):
        server.post("mode", {"mode": "on"})
        with pytest.warns(GuardAlarm):
            _, unit = self.cycle(server, 2.0)
        assert not unit["trusted"] and "level" in unit["alarm"]
        assert self.cycle(server, 0.5)[1]["actor"] == "old"
        assert server.post("trust") == (200, {})
        _, unit = self.cycle(server, 0.5)
        assert (unit["actor"], unit["trusted"], unit["alarm"]) == ("new", True, "")

    def test_what_cannot_be_is_refused(self, server, served):
        for call, content in (
            ("mode", {"mode": "On"}), ("mode", {}), ("mode", {"mode": ["on"]}),
            ("mode", {"mode": "canary"}), ("trust", {"unit": 0}),
            ("observe", {"reward": 1.0, "signals": {"level": "high"}}),
            ("observe", {"reward": 1.0, "signals": 3}), ("observe", {"reward": 1.0}),
        ):  # fmt: skip
            server.post("act", {"obs": OBS})
            before = server.state()
            assert refused(server.post(call, content)) == (422, "invalid"), content
            assert server.state() == before
        alone = served()
        for call, content in (("mode", {"mode": "on"}), ("trust", {})):
            assert refused(alone.post(call, content)) == (422, "invalid")


class TestRepeating:
    def test_a_request_with_the_same_id_is_done_once(self, served):
        server = served()
        act = server.post("act", {"obs": OBS}, request_id="a")
        assert server.post("act", {"obs": OBS}, request_id="a") == act
        observe = server.post("observe", {"reward": 1.0, "next_obs": OBS}, request_id="b")
        before = server.session.status.steps

        async def ask_while_it_learns():
            told = b'{"reward": 1.0, "next_obs": [0.5]}'
            async with server.desk.turn():
                how = {"content-type": JSON, "request-id": "b"}
                return await server.asked("POST", "/v1/observe", told, **how)

        again = server.loop.run(ask_while_it_learns())
        assert again == observe == (200, {"step": before})

    def test_an_id_belongs_to_one_request(self, served):
        server = served()
        server.post("act", {"obs": OBS}, request_id="a")
        answer = server.post("act", {"obs": [0.25]}, request_id="a")
        assert refused(answer) == (409, "id_used")
        assert refused(server.post("act", {"obs": OBS}, request_id="a b")) == (400, "malformed")

    def test_what_was_refused_may_be_mended_under_its_id(self, served):
        server = served()
        assert server.post("act", {"obs": [1, 2]}, request_id="a")[0] == 422
        assert server.post("act", {"obs": OBS}, request_id="a")[0] == 200


class TestLearning:
    def test_it_is_asked_for_and_goes_on_in_the_background(self, served, begin_served):
        server = served(begin_served())
        server.post("act", {"obs": OBS})
        server.post("observe", {"reward": 1.0, "next_obs": OBS, "truncated": True})
        assert server.post("learn", {"updates": 3}) == (202, {})
        assert server.ask("GET", "/v1/status")[1]["learning"]["wanted"]
        server.learnt()
        told = server.ask("GET", "/v1/status")[1]
        assert told["updates"] == 3 and not told["learning"]["wanted"]
        both = server.post("learn", {"updates": 3, "seconds": 1})
        assert refused(both) == (422, "invalid")

    def test_between_requests_it_does_what_is_due(self, served, begin_served):
        server = served(begin_served(), between=True)
        for _ in range(4):
            server.post("act", {"obs": OBS})
            server.post("observe", {"reward": 1.0, "next_obs": OBS})
        server.learnt()
        assert server.session.status.updates == 4 and server.session.due == 0

    def test_whoever_waits_too_long_is_refused_and_nothing_is_done(self, served):
        server = served(limits=ServerLimits(patience=0.01))

        async def ask_while_it_learns():
            async with server.desk.turn():
                status = await server.asked("GET", "/v1/status")
                kind = {"content-type": JSON}
                return status, await server.asked("POST", "/v1/act", b'{"obs": [0]}', **kind)

        before = server.state()
        status, act = server.loop.run(ask_while_it_learns())
        assert status[0] == 200
        assert refused(act) == (503, "busy")
        assert server.state() == before

    def test_a_learner_process_is_told_what_is_wanted_and_nobody_waits(self, served, monkeypatch):
        server, told = served(), []
        report = dataclasses.replace(server.session.learner, process=7)
        monkeypatch.setattr(Session, "learner", property(lambda session: report))
        monkeypatch.setattr(Session, "learn", lambda session, **how: told.append(how) or 0)
        assert server.post("learn", {"updates": 3})[0] == 202
        assert not server.loop.run(server.lessons._learn())
        assert told == [{"updates": 3, "seconds": None}]
        assert not server.loop.run(server.lessons._learn()) and len(told) == 1

    def test_an_error_ends_learning_and_not_acting(self, served, begin_served, monkeypatch, capsys):
        server = served(begin_served())
        server.post("act", {"obs": OBS})
        server.post("observe", {"reward": 1.0, "next_obs": OBS})
        monkeypatch.setattr(Learner, "update", lambda *args: 1 / 0)
        server.post("learn")
        server.learnt()
        assert "ZeroDivisionError" in capsys.readouterr().err
        assert server.ask("GET", "/v1/status")[1]["learning"]["failed"]
        for call in ("learn", "save"):
            assert refused(server.post(call)) == (409, "learning_failed")
        assert server.post("act", {"obs": OBS})[0] == 200
