"""What the parts of a run cost on this machine, measured in a miniature of it.

The miniature is the learner of the run itself, on the log itself, with fewer steps and rollouts.
It goes through both stages twice. The second time tells what each part costs. What the first time
takes longer is spent once, as in the run: most of it compiles the programs.
"""

import dataclasses
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from moore.agents.bc import BCConfig
from moore.clock import Clock
from moore.config import Config
from moore.experience.part import part_of
from moore.experience.settings import rollout_length
from moore.replay.buffer import Transition
from moore.runs.setup import Setup
from moore.stages import epoch_diagnostics
from moore.stages.clone import fit_clone, floor_gate
from moore.stages.gatekeeping import pass_gate
from moore.stages.learner import Learner, LearnerState

# Sizes of the miniature: gradient steps of the models, updates of the clone and at least of the
# agent, steps in the system, and imagined steps of a round of rollouts.
FIT_STEPS, UPDATES, STEPS, IMAGINED = 20, 20, 20, 20_000


@dataclass(frozen=True)
class Costs:
    """What the parts of a run cost.

    Attributes:
        starting: seconds that are spent once: compiling programs, and preparing the agent.
        offline, online: for each part, the seconds of one of its units; see `Miniature`.
        memory: largest number of bytes that this process has had; None where nobody tells.
        state: bytes of the miniature's states, which `memory` contains.
    """

    starting: float
    offline: Mapping[str, float]
    online: Mapping[str, float]
    memory: int | None
    state: int


@dataclass
class Lap:
    """One way through both stages.

    Attributes:
        seconds: how long it took.
        clocks: where the time went, by stage.
    """

    seconds: float = 0.0
    clocks: dict[str, Clock] = field(
        default_factory=lambda: {"offline": Clock(), "online": Clock()}
    )


class Miniature:
    """A run in small.

    The parts and their units: fit and refit, gradient steps of the models; clone, gradient steps;
    imagine, imagined steps; update, updates of the agent; gate, rollouts; act and observe, steps in
    the system; diagnose, epochs.
    """

    def __init__(self, setup: Setup):
        self._setup = setup
        self._config = reduced(setup.config)
        self._transition = _example(setup)

    @property
    def learner(self) -> Learner:
        """The learner of the miniature."""
        return self._setup.learner.changed(config=self._config)

    def costs(self) -> Costs:
        """Goes through both stages twice."""
        first, second = self._lap(), self._lap()
        each = {}
        for stage, clock in second.clocks.items():
            units = self._units(stage)
            parts = {part: seconds for part, seconds in clock.seconds.items() if units.get(part)}
            each[stage] = {part: seconds / units[part] for part, seconds in parts.items()}
        scaled = sum(sum(clock.seconds.values()) for clock in second.clocks.values())
        starting = max(first.seconds - scaled, 0.0)
        memory, state = peak_memory(), state_bytes(self.learner)
        return Costs(starting, each["offline"], each["online"], memory, state)

    def _units(self, stage: str) -> dict[str, int]:
        config = self._config
        online = config.online
        return {
            "fit": config.model.max_fit_steps,
            "refit": config.model.max_refit_steps,
            "clone": UPDATES,
            "imagine": online.rollout_batch * rollout_length(config, 1),
            "update": sum(self._calls(stage)),
            "gate": config.gate.rollouts,
            "act": STEPS,
            "observe": STEPS,
            "diagnose": 1,
        }

    def _calls(self, stage: str) -> list[int]:
        """Updates of the agent in each call of a lap: a call has a price of its own."""
        each = min(updates_of_a_call(self._config, stage), UPDATES)
        return -(-UPDATES // each) * [each]

    def _update(self, learner: Learner, state: LearnerState, epoch: int) -> LearnerState:
        for updates in self._calls(state.stage):
            state, _ = learner.update(state, epoch, updates)
        return state

    def _lap(self) -> Lap:
        lap = Lap()
        learner = self._setup.learner
        with _timed(lap):
            small = learner.changed(config=self._config, clock=lap.clocks["offline"])
            state = jax.block_until_ready(small.init(self._setup.key))
            if learner.algorithm.uses_log:
                state = self._offline(small, state)
            small = learner.changed(config=self._config, clock=lap.clocks["online"])
            # What is learned at the hand-over must not be charged to the first actions.
            self._online(small, jax.block_until_ready(small.hand_over(state)))
        return lap

    def _offline(self, learner: Learner, state: LearnerState) -> LearnerState:
        state, _ = learner.start(state)
        if self._setup.config.clone:
            state = _with_clone(learner, state)
        state, _ = learner.refresh(learner.summarise_data(state), 2)
        state = self._update(learner, state, 2)
        state, _ = pass_gate(learner, state, 2)
        epoch_diagnostics.imagined_episodes(learner, state)
        return state

    def _online(self, learner: Learner, state: LearnerState) -> None:
        # The rollouts before the first step are not counted: those of the refresh are.
        unmeasured = learner.changed(clock=Clock())
        if learner.algorithm.uses_log:
            state, _ = unmeasured.start(state)
        obs = np.asarray(self._transition.obs)
        for _ in range(STEPS):
            _, state = learner.act(state, obs)
            state = learner.observe(state, self._transition)
        before = epoch_diagnostics.policy_in_models(learner, state)
        state, _ = learner.refresh(state, 1)
        state = self._update(learner, state, 1)
        state, _ = pass_gate(learner, state, 1)
        epoch_diagnostics.compare_epochs(learner, before, state, 1)
        epoch_diagnostics.imagined_episodes(learner, state)


def reduced(config: Config) -> Config:
    """The configuration of the miniature. Whatever shapes a batch or a network stays as it is."""
    few = max(IMAGINED // config.rollout_length, 1)
    online, offline, model = config.online, config.offline, config.model
    return dataclasses.replace(
        config,
        clone=False,  # made by the miniature itself, with fewer steps
        model=dataclasses.replace(
            model,
            max_fit_steps=min(model.max_fit_steps, FIT_STEPS),
            max_refit_steps=min(model.max_refit_steps, FIT_STEPS),
        ),
        offline=dataclasses.replace(
            offline,
            rollout_batch=min(online.rollout_batch, offline.rollout_batch, few),
            retain_epochs=1,
        ),
        online=dataclasses.replace(
            online,
            rollout_batch=min(online.rollout_batch, offline.rollout_batch, few),
            retain_epochs=1,
            start_full=False,
            epochs=1,
        ),
        gate=dataclasses.replace(config.gate, rollouts=min(config.gate.rollouts, 20)),
        # What the actor of PPO costs is not told by its first updates, in which it does not learn.
        **{"ppo": dataclasses.replace(config.ppo, critic_first=0)},  # a section that was found
    )


def updates_of_a_call(config: Config, stage: str) -> int:
    """How many updates of the agent a run makes in one call, in this stage."""
    if stage == "offline":
        return max(config.offline.updates_per_epoch // config.offline.rounds, 1)
    return config.online.updates_per_group


def state_bytes(learner: Learner) -> int:
    """Bytes of the larger of the states of the two stages, the log not counted."""

    def both(key: PRNGKeyArray) -> tuple[LearnerState, LearnerState]:
        state = learner.init(key)
        return state, learner.hand_over(state)

    return max(map(_bytes, eqx.filter_eval_shape(both, jax.random.key(0))))


def peak_memory() -> int | None:
    """Largest number of bytes of memory that this process has had, where the system tells."""
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _bytes(tree: PyTree) -> int:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype")]
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def _with_clone(learner: Learner, state: LearnerState) -> LearnerState:
    """What `Learner.start` does where the configuration asks for a clone, in fewer steps."""
    config = learner.config
    sizes = BCConfig(hidden=learner.agent_config.hidden, updates=UPDATES)
    with learner.clock("clone"):
        clone = fit_clone(learner.offline, part_of(learner.offline), state.key, sizes)
    begun = learner.algorithm.agent.begin_with(state.agent, clone.actor, learner.agent_config)
    floor = state.gate
    if learner.gated:
        floor = floor_gate(clone, earned=config.gate.earned or config.gate.calibrated)
    return dataclasses.replace(state, agent=begun, gate=floor)


def _example(setup: Setup) -> Transition:
    """A step in the system: a row of the log, or zeros."""
    data = setup.learner.offline.data
    return jax.tree.map(lambda column: np.asarray(column[0]), data)


@contextmanager
def _timed(lap: Lap) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    lap.seconds = time.perf_counter() - begin
