"""The first policy of a run: a clone of the better part of the log, fitted in seconds.

Every policy that is learned later is compared with it. `moore.data.better_part` chooses the part
and `moore.agents.bc` makes the gradient steps. Here held-out rows choose the step at which the
clone is best, and tell whether there was anything to clone: the actions of a random policy do not
depend on the observations.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from moore.agents import bc
from moore.agents.bc import BCConfig, BCState
from moore.agents.nets import Actor, mode_action
from moore.data.better_part import Part
from moore.experience.policy_comparison import NO_BAR
from moore.experience.protocol import Metrics
from moore.lockstep.program import program
from moore.replay.buffer import Replay, Transition, as_batch, take
from moore.stages.gate import Gate, gate_of
from moore.units import Units

# Share of the part's rows that are held out, length of a stretch of consecutive held-out rows, and
# largest number. Stretches are held out because a neighbour of a row tells its action.
HELD_OUT, STRETCH, MOST_HELD_OUT = 0.05, 50, 5000
# Number of checks on the held-out rows, and of checks without progress after which the fit ends.
CHECKS, PATIENCE = 20, 6
# Smallest share of the held-out actions' variance that a clone must explain.
LEAST_EXPLAINED = 0.1
# A log with fewer rows than this is not cloned.
LEAST_ROWS = 200


@dataclass(frozen=True)
class Clone:
    """A cloned policy.

    Attributes:
        actor: actor as SAC has it, for observations in the agent's units.
        part: the part of the log that was cloned.
        explained: share of the held-out actions' variance that it explains, at most 1.
        updates: number of gradient steps after which it was best.
        too_poor: sentence that says why the log has nothing to clone; empty otherwise.
    """

    actor: Actor
    part: Part
    explained: float
    updates: int
    too_poor: str = ""


def floor_gate(clone: Clone, *, earned: bool) -> Gate:
    """A gate that lets the clone act until the models judge another policy to be better.

    With `earned` the policy must also be worth more than the clone's part of the log has earned.
    Policies that stay near the clone need no such bar: models that underestimate the clone also
    underestimate them, and in the difference this cancels.
    """
    return gate_of(clone.actor, clone.part.mean_return if earned else NO_BAR)


def clone_metrics(clone: Clone, units: Units) -> Metrics:
    """Entries of the first row of the offline stage, in the user's units."""
    part = clone.part
    found = {
        "part_return": units.reward_out(part.mean_return),
        "part_return_sd": units.reward_out(part.sd_return),
        "log_return": units.reward_out(part.log_return),
        "episodes": len(part.returns),
        "rows": len(part.rows),
        "explained": clone.explained,
        "updates": clone.updates,
        "acts": not clone.too_poor,
    }
    return {f"clone/{name}": jnp.asarray(float(value)) for name, value in found.items()}


def fit_clone(offline: Replay, part: Part, key: PRNGKeyArray, config: BCConfig) -> Clone:
    """Clones a part of the log.

    Args:
        offline: the log, in the agents' units.
        part: the part to clone.
        key: key of the split, the network and the draws.
        config: settings of the regression.
    """
    key_split, key_init, key_fit = jax.random.split(key, 3)
    seed = int(jax.random.bits(key_split))
    train, holdout = split_holdout(part.rows, np.random.default_rng(seed))
    dims = offline.data.obs.shape[1], offline.data.action.shape[1]
    state = bc.init(key_init, *dims, config)
    state = bc.summarise_data(state, offline, offline, config)
    holdout_data = take(offline.data, jnp.asarray(holdout))
    actor, error, updates = _fit(
        state, offline.data, jnp.asarray(train, jnp.int32), holdout_data, key_fit, config
    )
    spread = jnp.mean(jnp.var(holdout_data.action, axis=0))
    explained = 1.0 - float(error) / float(spread) if spread > 0.0 else 1.0
    why = _too_poor(len(part.rows), explained)
    return Clone(actor, part, explained, int(updates), why)


def split_holdout(
    rows: Int[np.ndarray, " n"], rng: np.random.Generator
) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " holdout"]]:
    """Rows to learn from and held-out rows; a single row is both."""
    stretch = max(1, min(STRETCH, len(rows) // 20))
    count = -(-len(rows) // stretch)
    wanted = min(HELD_OUT * len(rows), MOST_HELD_OUT)
    drawn = rng.permutation(count)[: max(1, round(wanted / stretch))]
    in_holdout = np.isin(np.arange(len(rows)) // stretch, drawn)
    if in_holdout.all():
        return rows, rows
    return rows[~in_holdout], rows[in_holdout]


def cloning_error(
    actor: Actor, obs: Float[Array, "rows obs"], action: Float[Array, "rows action"]
) -> Float[Array, ""]:
    """Mean squared error of the actor's mode, over rows and entries of the action."""
    return jnp.mean((mode_action(actor, obs) - action) ** 2)


@program(static_argnames=("config",))
def _fit(
    state: BCState,
    log: Transition,
    train: Int[Array, " train"],
    holdout_data: Transition,
    key: PRNGKeyArray,
    config: BCConfig,
) -> tuple[Actor, Float[Array, ""], Int[Array, ""]]:
    """The actor that was best on the held-out rows, its error, and its number of updates."""
    each = -(-config.updates // CHECKS)
    obs, action = jnp.asarray(holdout_data.obs), jnp.asarray(holdout_data.action)

    def step(before: BCState, step_key: PRNGKeyArray):
        rows = train[jax.random.randint(step_key, (config.batch_size,), 0, train.size)]
        return bc.update(before, as_batch(take(log, rows), rows), step_key, config)[0], None

    def check(carry):
        before, best, least, best_at, at = carry
        after, _ = jax.lax.scan(step, before, jax.random.split(jax.random.fold_in(key, at), each))
        actor = bc.policy(after)
        error = cloning_error(actor, obs, action)
        better = error < least
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), actor, best)
        at = at + 1
        return after, best, jnp.minimum(error, least), jnp.where(better, at, best_at), at

    def goes_on(carry):
        *_, best_at, at = carry
        return (at < CHECKS) & (at - best_at < PATIENCE)

    none = jnp.zeros((), jnp.int32)
    start = (state, bc.policy(state), jnp.asarray(jnp.inf), none, none)
    _, best, least, best_at, _ = jax.lax.while_loop(goes_on, check, start)
    return best, least, best_at * each


def _too_poor(rows: int, explained: float) -> str:
    """Why there is nothing to clone; empty otherwise."""
    if rows < LEAST_ROWS:
        return (
            f"The better part of the log has {rows} rows, and a clone needs {LEAST_ROWS} at least."
        )
    if explained < LEAST_EXPLAINED:
        return (
            f"The observations explain {max(explained, 0.0):.0%} of the logged actions' variance "
            f"and should explain {LEAST_EXPLAINED:.0%} at least: the actions look random, so there "
            "is no policy in the log to clone."
        )
    return ""
