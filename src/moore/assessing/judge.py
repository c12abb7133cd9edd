"""Judges policies against one log and one ensemble of models; what they share is computed once."""

from dataclasses import asdict, dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from moore.agents.bc import BCConfig
from moore.assessing.controller import JudgedController, cloned
from moore.assessing.coverage import Covered, Surroundings
from moore.assessing.doubly_robust import by_weights_and_values
from moore.assessing.estimate import (
    DOUBLY_ROBUST,
    FITTED_Q,
    IMPORTANCE,
    MODELS,
    mean_of,
    refused,
)
from moore.assessing.fitted_q import REPLICATES, FittedQ
from moore.assessing.imagined import (
    BEYOND,
    MOST_BROKEN,
    Compared,
    Imagined,
    corrected,
    imagine_episodes,
)
from moore.assessing.importance import by_importance, weighed
from moore.assessing.logged import Logged
from moore.assessing.readings import Answer, Reading, ReadingFacts, readings, verdict
from moore.dynamics.ensemble import Ensemble, Normaliser
from moore.dynamics.imagine import TerminationFn
from moore.dynamics.open_loop import HORIZONS, open_loop_errors, stretch_starts
from moore.jax_settings import key_of
from moore.units import Units

# Starts of imagined episodes, in every member; and stretches for the open-loop error.
STARTS, STRETCHES = 32, 256
# Largest share of the log that the recording may have cut short.
MOST_CUT = 0.5
# Longest episode, in steps, that is imagined or evaluated: that of D4RL's tasks. Errors add up.
LONGEST = 1000


@dataclass(frozen=True)
class Judgement:
    """What can be said about a policy, in the user's units.

    Attributes:
        answer, line: "yes", "no" or "unknown", and why.
        facts: the numbers.
        readings: the three readings.
        clone: what each estimator says about the clone of the log's better part; empty if no
            estimator can say anything.
        courses: for each curve of the picture, the mean of what was earned up to each step.
    """

    answer: Answer
    line: str
    facts: ReadingFacts
    readings: list[Reading]
    clone: dict[str, Compared]
    courses: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Case:
    """What all policies of one system are judged by.

    Attributes:
        logged: the log.
        units: units of the user.
        terminated_fn: the rule that ends imagined episodes.
        ensemble: models of the system; None if there are none.
        seed: seed of all draws.
        starts, replicates: numbers of imagined starts and of bootstrap replicates of fitted Q.
        cloning: settings of the clones; None: those of `controller`.
        density: log mu(a|s) of every row, where the log has it.
        doubts: sentences on what is otherwise in this log than in that which trained the policy.
    """

    logged: Logged
    units: Units
    terminated_fn: TerminationFn
    ensemble: Ensemble | None
    seed: int = 0
    starts: int = STARTS
    replicates: int = REPLICATES
    cloning: BCConfig | None = None
    density: np.ndarray | None = None
    doubts: tuple[str, ...] = ()

    def judge(self, new: JudgedController) -> Judgement:
        """What can be said about this policy; it acts without noise."""
        visited = self._imagined(new)
        estimates = self._estimates(new, visited) | self._by_weights(new)
        facts = self._facts(self._surroundings.of(new, visited), estimates, visited)
        found = readings(facts)
        answer, line = verdict(facts, found)
        clone = {} if self._no_episodes() else self._of_the_clone
        return Judgement(answer, line, facts, found, clone, self._courses(visited))

    # --- What the policies share ---

    @property
    def clone(self) -> JudgedController:
        """The clone of the better part of the log."""
        return self._clones[0]

    @cached_property
    def _clones(self) -> tuple[JudgedController, JudgedController]:
        return cloned(self.logged, seed=self.seed, settings=self.cloning)

    @cached_property
    def _fitted_q(self) -> FittedQ:
        return FittedQ(self.logged, self.seed, self.replicates)

    @cached_property
    def _surroundings(self) -> Surroundings:
        return Surroundings(self.logged, self.seed)

    @cached_property
    def _imagined_old(self) -> Imagined | None:
        return self._imagined(self._clones[1])

    @cached_property
    def _of_the_clone(self) -> dict[str, Compared]:
        return self._in_users_units(self._estimates(self.clone, self._imagined(self.clone)))

    @cached_property
    def _begin(self) -> np.ndarray:
        """First states of the imagined episodes, the same for every policy."""
        every = self.logged.starts
        rng = np.random.default_rng(self.seed)
        replace = len(every) < self.starts
        return every[rng.choice(len(every), self.starts, replace=replace)]

    def _imagined(self, controller: JudgedController) -> Imagined | None:
        if self.ensemble is None:
            return None
        obs = self.logged.data.obs
        low, high = obs.min(axis=0), obs.max(axis=0)
        more = BEYOND * (high - low)
        return imagine_episodes(
            controller, self.ensemble, self._begin, key_of(self.seed),
            terminated_fn=self.terminated_fn, steps=min(self.logged.horizon, LONGEST),
            limits=(low - more, high + more),
        )  # fmt: skip

    @cached_property
    def _open_loop(self) -> dict[int, float]:
        """For a number of steps, the models' median error after them, in the log's deviations."""
        logged = self.logged
        longest = int((logged.stop - logged.first).max())
        horizons = tuple(h for h in HORIZONS if h <= longest) or (longest,)
        if self.ensemble is None:
            return {}
        starts = stretch_starts(logged.ends, logged.known, max(horizons))
        if not len(starts):
            return {}
        rng = np.random.default_rng(self.seed)
        chosen = jnp.asarray(rng.choice(starts, STRETCHES))
        spread = Normaliser(*(jnp.asarray(column) for column in logged.spread))
        data = jax.tree.map(jnp.asarray, logged.data.transitions)
        found = open_loop_errors(
            self.ensemble, data, chosen, key_of(self.seed), horizons=horizons, spread=spread
        )
        return {h: float(found[f"open_loop_{h}"]) for h in horizons}

    # --- What is said about one policy ---

    def _estimates(self, new: JudgedController, visited: Imagined | None) -> dict[str, Compared]:
        """What each estimator says, in the agents' units."""
        if why := self._no_episodes():
            nothing = Compared(refused(why), refused(why))
            return {MODELS: nothing, FITTED_Q: nothing}
        return {MODELS: self._by_models(visited), FITTED_Q: self._fitted_q.of(new)}

    def _no_episodes(self) -> str:
        """Why the return of an episode has no meaning here; empty if it has one."""
        old = mean_of(self.logged.returns)
        if self.logged.cut > MOST_CUT:
            return (
                f"{self.logged.cut:.0%} of the log lies in episodes that neither ended nor lasted "
                f"{self.logged.horizon} steps: what a whole episode earns is not known."
            )
        if self.logged.horizon > LONGEST:
            return (
                f"An episode has {self.logged.horizon} steps, and the errors of an estimate add up "
                f"over more than {LONGEST}: cut the log into shorter records."
            )
        return old.refused

    def _by_models(self, visited: Imagined | None) -> Compared:
        old = self._imagined_old
        if visited is None or old is None:
            why = "The run has no models of the system."
        elif max(float(visited.broken), float(old.broken)) > MOST_BROKEN:
            why = "More than half of the imagined episodes became infinite."
        else:
            returns = np.asarray(visited.returns, np.float64), np.asarray(old.returns, np.float64)
            return corrected(*returns, self.logged.returns, seed=self.seed)
        return Compared(refused(why), refused(why))

    def _by_weights(self, new: JudgedController) -> dict[str, Compared]:
        """What those say that need the densities of the log's actions."""
        if why := self._no_episodes():
            nothing = Compared(refused(why), refused(why))
            return {IMPORTANCE: nothing, DOUBLY_ROBUST: nothing}
        found = weighed(new, self.logged, self.density)
        return {
            IMPORTANCE: by_importance(found, self.logged),
            DOUBLY_ROBUST: by_weights_and_values(new, found, self._fitted_q),
        }

    def _facts(
        self, covered: Covered, estimates: dict[str, Compared], visited: Imagined | None
    ) -> ReadingFacts:
        returns, out = self.logged.returns, self.units.reward_out
        errors = {}
        if not self._no_episodes():
            if self._imagined_old is not None:
                errors[MODELS] = float(self._imagined_old.returns.mean() - returns.mean())
            if (error := self._fitted_q.error_on_old) is not None:
                errors[FITTED_Q] = error
        return ReadingFacts(
            old=mean_of(returns).times(out(1.0)),
            scatter=float(out(returns.std())) if len(returns) else float("nan"),
            best=float(out(returns.max())) if len(returns) else float("nan"),
            estimates=self._in_users_units(estimates),
            errors={name: float(out(error)) for name, error in errors.items()},
            open_loop=self._open_loop,
            broken=None if visited is None else float(visited.broken),
            covered=covered,
            doubts=self.doubts,
        )

    def _in_users_units(self, estimates: dict[str, Compared]) -> dict[str, Compared]:
        factor = float(self.units.reward_out(1.0))
        return {
            name: Compared(found.value.times(factor), found.gain.times(factor))
            for name, found in estimates.items()
        }

    def _courses(self, visited: Imagined | None) -> dict[str, np.ndarray]:
        out = self.units.reward_out
        found = {"the log": out(_course(self.logged))}
        if visited is not None and (old := self._imagined_old) is not None:
            found["old, in the models"] = out(np.asarray(old.course))
            found["new, in the models"] = out(np.asarray(visited.course))
        return found


def _course(logged: Logged) -> np.ndarray:
    """Mean over the episodes of the log of what was earned up to each step."""
    total = np.zeros(min(logged.horizon, LONGEST))
    step = np.arange(len(logged.known)) - np.repeat(logged.first, logged.stop - logged.first)
    np.add.at(total, np.minimum(step, len(total) - 1), logged.data.reward)
    return np.cumsum(total) / len(logged.first)


def as_json(judged: Judgement) -> dict:
    """The judgement as nested tables, without what only pictures need."""
    facts, covered = judged.facts, asdict(judged.facts.covered)
    shares = {name: value for name, value in covered.items() if "distances" not in name}
    return {
        "verdict": judged.answer,
        "line": judged.line,
        "old": asdict(facts.old) | {"scatter": facts.scatter, "best": facts.best},
        "new": {name: asdict(found) for name, found in facts.estimates.items()},
        "clone": {name: asdict(found) for name, found in judged.clone.items()},
        "error_on_old": facts.errors,
        "open_loop_error": {str(h): error for h, error in facts.open_loop.items()},
        "imagined_not_finite": facts.broken,
        "coverage": shares,
        "readings": [asdict(reading) for reading in judged.readings],
    }
