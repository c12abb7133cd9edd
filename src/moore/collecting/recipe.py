"""What to collect, and the environment that it is collected in."""

import contextlib
import functools
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from moore.agents.sac import SACConfig
from moore.envs.adapter import Adapter
from moore.envs.identity import refuse_normalisers
from moore.envs.limits import StepLimit, limit_of, step_limit
from moore.envs.make import make_env
from moore.errors import InputError
from moore.presets import preset

Tier = Literal["random", "medium", "medium-replay", "expert"]

DEFAULT_STEPS = 100_000


@dataclass(frozen=True)
class Recipe:
    """What to collect."""

    env_id: str
    """Id of a Gymnasium environment with continuous actions."""
    tier: Tier
    """Which policy records the log: random, medium or expert; medium-replay is what the training
    saw up to the medium policy. A medium-expert log is a medium and an expert log together."""
    steps: int | None = None
    """Number of rows. None records 100,000; for medium-replay, all rows up to the medium policy."""
    seed: int = 0
    """Seed of all random numbers."""
    train_steps: int = 1_000_000
    """Largest number of environment steps of the SAC training."""
    target_return: float | None = None
    """Evaluated return at which a policy counts as medium. None uses a third of the way from the
    random policy to the expert."""
    expert_return: float | None = None
    """Return that counts as expert. None uses D4RL's constant if there is one, otherwise the
    measured return of the best policy of the training. A random log names no expert return then."""
    sac: SACConfig = field(default_factory=lambda: preset("sac").sac)
    """Settings of SAC, which learns the policies."""


def check_recipe(recipe: Recipe) -> None:
    """Raises InputError for numbers that make no sense, and for an environment we cannot use."""
    for name in ("steps", "train_steps"):
        value = getattr(recipe, name)
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} is {value}; it must be positive.")
    if not 0 <= recipe.seed < 2**63:
        raise InputError(f"--seed is {recipe.seed}; it must lie in [0, 2**63).")
    for name in ("target_return", "expert_return"):
        value = getattr(recipe, name)
        if value is not None and not np.isfinite(value):
            raise InputError(f"--{name.replace('_', '-')} is {value}; it must be a finite number.")
    with contextlib.closing(make_env(recipe.env_id)) as env:
        refuse_normalisers(env, recipe.env_id)


def make_recipe_env(recipe: Recipe) -> Adapter:
    """The environment, whose episodes end: one that states no limit is measured, or cut."""
    return make_env(recipe.env_id, limit=cut_after(recipe))


def cut_after(recipe: Recipe) -> int | None:
    """After how many steps its episodes are cut; None: it ends them itself."""
    limit = found_limit(recipe.env_id, recipe.seed)
    return None if limit is None or limit.source in ("measured", "varying") else limit.steps


@functools.cache
def found_limit(env_id: str, seed: int) -> StepLimit | None:
    """The limit of an environment that states none; None: it states one."""
    with contextlib.closing(make_env(env_id)) as env:
        return limit_of(env, None, seed, may_move=True) if step_limit(env) is None else None
