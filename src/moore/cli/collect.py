"""The command `moore collect`: makes a log by the recipe of D4RL."""

import json
from dataclasses import dataclass
from typing import Annotated, Any

from moore.cli.parse import example, parse
from moore.console import show


def options_class() -> type[Any]:
    """The options, made in a function because they need jax."""
    import tyro

    from moore.collecting.recipe import Recipe

    @example("moore collect --env-id Hopper-v5 --tier medium --steps 100000 --out medium.hdf5")
    @dataclass(frozen=True)
    class CollectOptions:
        """Makes a log of an environment by D4RL's recipe.

        If it is interrupted, the same command goes on where it stopped.
        """

        recipe: Annotated[Recipe, tyro.conf.arg(name="")]
        out: str
        """File to write, which must not exist yet: path.hdf5, path.npz or minari:ID."""
        format: str | None = None
        """Format of the file: d4rl, npz or minari. None follows the name of --out."""
        training: str | None = None
        """Folder of the SAC training, which all tiers of one seed share. None uses
        {env}__sac__{seed} beside --out."""
        json: bool = False
        """Print the facts about the log as JSON."""
        quiet: bool = False
        """Do not show progress."""

    return CollectOptions


def collect_log(arguments: list[str]) -> None:
    options: Any = parse(options_class(), arguments, "collect")

    from moore.collecting.collect import collect, describe
    from moore.numbers import counted

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
    episodes = counted(facts["episodes"], "complete episode")
    text = f"{log.name}: {counted(facts['rows'], 'row')}, {episodes}"
    if facts["episodes"]:
        score = facts["score"]
        text += f", mean return {facts['mean_return']:.1f}"
        text += "" if score is None else f" (score {score:.1f})"
    else:
        text += "; training takes no log without one: give more --steps"
    show(text)
