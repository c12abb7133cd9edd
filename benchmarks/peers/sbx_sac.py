"""sbx: SAC and CrossQ in JAX, with the interface of stable-baselines3."""

import jax
import sbx
from stable import Spaces, filled, settings
from work import UPDATE, Operation, Sizes


def operations(sizes: Sizes, threads: int) -> tuple[list[Operation], str]:
    """What is timed here, and the version of the library."""
    del threads  # XLA has read the environment
    made = []
    for kind in (sbx.SAC, sbx.CrossQ):
        # CrossQ's critics are wider by default; here all networks are equal.
        widths = {"pi": list(sizes.hidden), "qf": list(sizes.hidden)}
        agent = filled(
            kind(
                "MlpPolicy",
                Spaces(sizes),
                policy_kwargs={"net_arch": widths},
                **settings(sizes),
            ),
            sizes,
        )

        def train(agent=agent) -> None:
            agent.train(sizes.batch, sizes.updates)
            jax.block_until_ready((agent.policy.actor_state.params, agent.policy.qf_state.params))

        includes = "draws all batches in NumPy first, one compiled loop"
        if kind is sbx.CrossQ:
            includes += "; batch normalisation, no target critics, an actor step in three"
            for _ in range(3):
                train()  # it compiles anew for each remainder of the number of updates by three
        made.append(Operation(UPDATE, f"sbx {kind.__name__}", includes, sizes.updates, train))
    return made, f"{sbx.__version__}, jax {jax.__version__}"
