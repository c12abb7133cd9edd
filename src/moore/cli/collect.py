"""moore collect."""

import json
from dataclasses import dataclass
from typing import Annotated

from moore.cli.parse import example, parse
from moore.console import show


def _options():
    """Made here because they need jax."""
    import tyro

    from moore.collecting.collect import Recipe

    @example("moore collect --env-id Hopper-v5 --tier medium --steps 100000 --out medium.hdf5")
    @dataclass(frozen=True)
    class CollectOptions:
        """Makes a log of an environment by D4RL's recipe. Interrupted, the same command goes on.

        Attributes:
            out: path.hdf5, path.npz or minari:ID; must not exist.
            format: d4rl, npz or minari; by default what --out says.
            training: folder of the SAC training that the tiers of one seed share; by default
                {env}__sac__{seed} beside --out.
            json: print JSON.
            quiet: no progress.
        """

        recipe: Annotated[Recipe, tyro.conf.arg(name="")]
        out: str
        format: str | None = None
        training: str | None = None
        json: bool = False
        quiet: bool = False

    return CollectOptions


def collect_log(arguments: list[str]) -> None:
    options = parse(_options(), arguments, "collect")

    from moore.collecting.collect import collect, describe

    log = collect(
        options.recipe,
        options.out,
        format=options.format,
        training=options.training,
        quiet=options.quiet,
    )
    facts = describe(log)
    if options.json:
        print(json.dumps(facts))
        return
    text = f"{log.name}: {facts['rows']:,} rows, {facts['episodes']:,} complete episodes"
    if facts["episodes"]:
        score = facts["score"]
        text += f", mean return {facts['mean_return']:.1f}"
        text += "" if score is None else f" (score {score:.1f})"
    show(text)
