"""In the tests JAX repeats no array and converts no number unasked, in the package neither.

An operation on arrays of different rank, or on a float32 and an int32, is an error. The package's
own settings (`moore.jax_settings`) permit both, so that the tests change them, too; the programs
that tests start have them as users do. The settings are made once for the whole session: what was
traced under others would have to be traced again.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator

STRICT = {"numpy_rank_promotion": "raise", "numpy_dtype_promotion": "strict"}
_FREE = {"numpy_rank_promotion": "allow", "numpy_dtype_promotion": "standard"}
# optax mixes types by itself: a rate to the power of a count, for instance. So its functions may.
_MIXES = ("apply_updates", "incremental_update")
_MADE_OF_WHAT_MIXES = ("adam", "scale_by_adam", "chain")


def use() -> None:
    """From now on, for the package, too, but not within what `_let_some_mix` names."""
    import jax  # not before its settings are made

    from moore.jax_settings import PLAIN

    for name, value in STRICT.items():
        jax.config.update(f"jax_{name}", value)
    PLAIN.update(STRICT)
    _let_some_mix()


@contextlib.contextmanager
def as_users_have_it() -> Iterator[None]:
    """Within, the package's own settings are those of a user's run, and so are JAX's."""
    import jax

    from moore.jax_settings import PLAIN

    PLAIN.update(_FREE)
    try:
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            yield
    finally:
        PLAIN.update(STRICT)


def freely(function: Callable) -> Callable:
    """The function, within which types are mixed as JAX does by default."""
    import jax

    @functools.wraps(function)
    def call(*arguments, **options):
        with jax.numpy_dtype_promotion("standard"):
            return function(*arguments, **options)

    return call


def _let_some_mix() -> None:
    """The functions of optax that the package calls."""
    import optax

    def made_freely(make: Callable) -> Callable:
        @functools.wraps(make)
        def made(*arguments, **options):
            return optax.GradientTransformation(*map(freely, make(*arguments, **options)))

        return made

    schedule = optax.cosine_decay_schedule
    optax.cosine_decay_schedule = lambda *a, **o: freely(schedule(*a, **o))
    for name in _MIXES:
        setattr(optax, name, freely(getattr(optax, name)))
    for name in _MADE_OF_WHAT_MIXES:
        setattr(optax, name, made_freely(getattr(optax, name)))
