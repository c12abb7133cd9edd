"""Settings that change nothing, since another one has turned off what they belong to."""

from collections.abc import Callable, Mapping

from moore.config import Config

_Off = Callable[[Config], bool]


def _no_budget(config: Config) -> bool:
    return not config.dip_budget


def _no_rehearsals(config: Config) -> bool:
    return _no_budget(config) or not config.online.rehearsal_epochs


def _no_gate(config: Config) -> bool:
    """Whether nobody asks the models; trials within a dip budget do, by the gate's settings."""
    return not (config.gate.enabled or config.dip_budget)


_WITHOUT: Mapping[str, tuple[_Off, str]] = {
    "dip_budget_per": (_no_budget, "there is no dip budget (--dip-budget)"),
    "offline.tolerance": (
        lambda config: config.offline.patience is None,
        "the stage does not wait for its values (--offline.patience)",
    ),
    "online.exploration_noise": (_no_budget, "there is no dip budget (--dip-budget)"),
    "online.rehearsal_epochs": (_no_budget, "there is no dip budget (--dip-budget)"),
    "online.rehearse_every": (
        _no_rehearsals,
        "there are no rehearsals (--online.rehearsal-epochs)",
    ),
    "evaluation.threshold": (
        lambda config: not config.evaluation.episodes,
        "nothing is evaluated (--evaluation.episodes)",
    ),
    "evaluation.candidate": (_no_gate, "there is no gate (--gate.enabled)"),
} | {
    f"gate.{name}": (_no_gate, "there is no gate (--gate.enabled)")
    for name in ("horizon", "rollouts", "penalised", "confidence", "earned", "calibrated")
}


def idle_settings(config: Config) -> dict[str, str]:
    """Paths of the settings that change nothing in this configuration, and the reason for each.

    Sections that the algorithm does not use at all are in `moore.runs.sections`.
    """
    return {path: reason for path, (off, reason) in _WITHOUT.items() if off(config)}
