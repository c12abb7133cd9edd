"""Options of the hand-over, each alone: on a quick task, and on two MuJoCo logs."""

import numpy as np

import beside
from handover_runs import by_option, difference, newest_clones, paired
from moore.evaluation.stats import holm, sign_flip
from tables_schemes import CLONE, FROZEN, INVERTED, clones
from text import fixed, interval, listed, markdown, share, signed

QUICK = "quick/inverted-pendulum"
PLAIN = "as it is"
# Option in the CSV -> its flag (bold: a guard of `moore_robust`), and what it is against.
LABELS = {
    "as it is": ("–", "the paper's algorithm"),
    "a third of the offline epochs": ("`--offline.epochs 5`", "(the other way than the next)"),
    "four times the offline epochs": (
        "**`--offline.epochs 60`**",
        "an offline stage that was not done",
    ),
    "offline until it stands still": (
        "**`--offline.epochs 200 --offline.patience 10 --offline.tolerance 0.02`**",
        "the same, by the values themselves",
    ),
    "discount 0.99": ("**`--sac.discount 0.99`**", "a fall that the algorithm does not see"),
    "averaged actor": ("**`--sac.average-rate 0.001`**", "a policy that swings between updates"),
    "layer norm": ("**`--sac.layer-norm`**", "impossible values"),
    "clipped targets": ("**`--sac.clip-targets 0.95`**", "the same; nothing to clip on this task"),
    "five critics, two judge": ("`--sac.critics 5 --sac.critic-subset 2`", "the same"),
    "floored targets": ("**`--sac.floor-targets 0.05`**", "a penalty that pays for an early end"),
    "rollouts of 100 steps": (
        "**`--rollout-length 100`**, as many steps in all: "
        "`--offline.rollout-batch 250 --online.rollout-batch 125`",
        "critics that are not told what the models know",
    ),
    "u of values": ("**`--uncertainty value`**", "a penalty without units"),
    "rollouts of 100 steps, u of values": ("rollouts of 100 steps, u of values", ""),
    "rollouts of 100 steps, u of values, floored targets": (
        "rollouts of 100 steps, u of values, floored targets",
        "",
    ),
    "penalty covers 90%": ("`--penalty-coverage 0.9`", "a lambda without units"),
    "no penalty": ("`--penalty-coef 0`", "(the other way)"),
    "rollouts end at u's 95%": (
        "`--trust-quantile 0.95`",
        "rollouts that go on where nothing is known",
    ),
    "calibrated sigma": ("`--model.calibrate`", "a sigma that the 1% rule has left unconverged"),
    "refits from the last weights": (
        "**`--model.warm-start last`**",
        "weights that fit neither optimiser nor bounds",
    ),
    "refits to 2000 steps": ("`--model.max-refit-steps 2000`", "models that break"),
    "normaliser of the log": ("`--model.no-refit-normaliser`", "the same"),
    "D_model starts full": ("`--online.start-full`", "a D_model of one epoch's rollouts"),
    "five epochs retained": ("`--online.retain-epochs 5`", "the same"),
    "four times the rollouts": ("`--online.rollout-batch 10000`", "the same"),
    "5% real rows": ("`--online.real-ratio 0.05`", "batches of imagined rows alone"),
    "half the updates": ("`--online.updates-per-step 1`", "a policy that moves fast"),
    "four times the updates": ("`--online.updates-per-step 8`", "(the other way)"),
    "a colder policy": ("`--sac.target-entropy -3`", "noise of the acting policy"),
    "a warmer policy": ("`--sac.target-entropy 0`", "(the other way)"),
    "gate of 50 steps": (
        "`--gate.enabled --gate.horizon 50 --gate.rollouts 1000`",
        "a new policy that the models find worse",
    ),
    "gate of episodes": ("`--gate.enabled --gate.no-penalised`", "the same, by whole episodes"),
    "gate of what was earned": (
        "**`--gate.enabled --gate.no-penalised --gate.earned`**",
        "a new policy that the models like, and that falls",
    ),
    "gate of episodes, offline too": (
        "**`--gate.enabled --gate.no-penalised`, from the first epoch on**",
        "a bad last offline epoch",
    ),
}
SMALL = 0.05  # a dip share that counts as none


def chances() -> dict[str, float]:
    """Option -> p of the exact sign-flip test of its paired differences from no option."""
    options = by_option(QUICK)
    plain = options[PLAIN]
    return {name: sign_flip(paired(found, plain)) for name, found in options.items()}


def options_quick() -> str:
    options, p = by_option(QUICK), chances()
    head = ("flag", "against", "seeds", "hand-over, of 1000", "evaluated dip share")
    head += ("against no option, paired [95%]", "p", "of at most 0.05")
    rows = []
    for name, (flag, against) in LABELS.items():
        found = options[name]
        seeds, dips = len(found["seed"]), found["dip_share"]
        gap = interval(difference(found, options[PLAIN]), signed)
        rows.append([
            flag, against, str(seeds),
            fixed(found["offline"].mean()), fixed(dips.mean(), 2),
            *(("", "") if name == PLAIN else (gap, fixed(p[name], 2))),
            f"{(dips <= SMALL).sum()} of {seeds}",
        ])  # fmt: skip
    starts = {FROZEN: options[PLAIN]["offline"], CLONE: clones(INVERTED, 8)}
    for title, earned in starts.items():
        count, level = str(len(earned)), fixed(earned.mean())
        rows.append([title, "", count, level, "0", "", "", f"{count} of {count}"])
    return markdown(head, rows)


def options_quick_beside() -> str:
    """What can be told without curves, as the CSV has none of these runs."""
    rows = []
    for name, (flag, _) in LABELS.items():
        found = by_option(QUICK)[name]
        gain, dip = beside.gain_and_dip(found, INVERTED)
        rows.append([
            flag, *(beside.form(1)(values.mean()) for values in (gain, dip)),
            fixed(np.nanmean(found["behaviour_dip_share"]), 2),
            fixed(found["final"].mean()), fixed(found["auc"].mean()),
        ])  # fmt: skip
    starts = {FROZEN: by_option(QUICK)[PLAIN]["offline"], CLONE: clones(INVERTED, 8)}
    for title, earned in starts.items():
        rows.append([title, "0", "0", "0, and luck", *[fixed(earned.mean())] * 2])
    head = ("flag", "gain, points", "dip, points", "acting dip share", "final")
    return markdown((*head, "area under the curve"), rows)


def _mujoco_beside(preset: str) -> str:
    """Options, the hand-over and a clone; the numbers of seeds 0, 1 and 2."""
    log, rows = preset.removeprefix("laptop/"), []
    for name in by_option(preset):
        found = beside.curves_in("handover-factors-curves.csv", preset=preset, option=name)
        rows.append([name, *beside.each_seed([beside.measured(run, log) for run in found])])
    plain = beside.curves_in("handover-factors-curves.csv", preset=preset, option=PLAIN)
    held = [beside.frozen(run) for run in plain]
    cloned = [beside.still(newest_clones()[log], len(held[0]["evaluated"]) - 1)]
    for title, still in ((FROZEN, held), (CLONE, cloned)):
        cells = beside.each_seed([beside.measured(run, log) for run in still])
        rows.append([title, *beside.unchanging(cells)])
    return markdown(("seeds 0, 1, 2", *beside.HEAD), rows)


def options_hopper_beside() -> str:
    return _mujoco_beside("laptop/hopper-medium-expert")


def options_halfcheetah_beside() -> str:
    return _mujoco_beside("laptop/halfcheetah-medium-replay")


def _options_mujoco(preset: str, title: str) -> str:
    options = by_option(preset)
    plain = options[PLAIN]
    head = (title, "evaluated dip share, seeds 0, 1, 2", "against no option, paired [95%]")
    head += ("acting dip share", "mean of the evaluations", "against no option, paired [95%]")
    rows = []
    for name, found in options.items():
        gaps = interval(difference(found, plain), signed)
        areas = interval(difference(found, plain, "auc"), lambda value: signed(value, 0))
        rows.append([
            name, listed(found["dip_share"], share), "" if name == PLAIN else gaps,
            listed(found["behaviour_dip_share"], share), listed(found["auc"]),
            "" if name == PLAIN else areas,
        ])  # fmt: skip
    earned = fixed(newest_clones()[preset.removeprefix("laptop/")])
    for name, level in ((FROZEN, listed(plain["offline"])), (CLONE, earned)):
        rows.append([name, "0", "", "0, and luck", level, ""])
    return markdown(head, rows)


def options_hopper() -> str:
    return _options_mujoco("laptop/hopper-medium-expert", "Hopper-medium-expert")


def options_halfcheetah() -> str:
    return _options_mujoco("laptop/halfcheetah-medium-replay", "HalfCheetah-medium-replay")


def numbers() -> dict[str, str]:
    p = {name: value for name, value in chances().items() if name != PLAIN}
    plain = by_option(QUICK)[PLAIN]
    adjusted = holm(np.asarray(list(p.values())))
    value = by_option(QUICK)["u of values"]
    cannot = int((plain["dip_share"] == 0).sum())
    hand_overs = np.sort(value["offline"])
    return {
        "options": str(len(p)),
        "options-smallest-p": fixed(min(p.values()), 4),
        "options-smallest-holm": fixed(adjusted.min(), 2),
        "options-cannot-improve": str(cannot),
        "u-of-values-low": f"{fixed(hand_overs[0])} to {fixed(hand_overs[-2])}",
        "u-of-values-most": fixed(value["dip_share"].max(), 2),
    }


TABLES = {
    "options-quick": options_quick,
    "options-hopper": options_hopper,
    "options-halfcheetah": options_halfcheetah,
    "options-quick-beside": options_quick_beside,
    "options-hopper-beside": options_hopper_beside,
    "options-halfcheetah-beside": options_halfcheetah_beside,
}
