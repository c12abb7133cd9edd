"""How much a sampling scheme will draw online from a log of a given size, before any training."""

from moore.errors import InputError
from moore.replay.schedule import (
    alpha_for_peak_tv,
    crossover_epoch,
    peak_tv_bound,
    schedule,
)
from moore.replay.schemes import Scheme, parse_scheme


def preview(
    schemes: list[str],
    *,
    n_off: int,
    steps_per_epoch: int,
    epochs: int,
    peak: float | None = None,
) -> dict:
    """Online shares and shifts at the ends of epochs 0..T, and a few numbers that sum them up.

    Args:
        schemes: names, as `parse_scheme` reads them.
        n_off: number of transitions in the log.
        steps_per_epoch: S, the online steps of an epoch.
        epochs: T, the number of epochs.
        peak: a bound on the shift per epoch; adds the largest alpha of `moore` that respects it.

    Raises:
        InputError: a scheme is unknown, or a size is not positive.
    """
    sizes = {"--n-off": n_off, "--steps-per-epoch": steps_per_epoch, "--epochs": epochs}
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"{name} is {size}; it must be positive.")
    result: dict = {"n_off": n_off, "steps_per_epoch": steps_per_epoch, "schemes": {}}
    for text in schemes:
        scheme = parse_scheme(text, steps_per_epoch=steps_per_epoch)
        if not isinstance(scheme, Scheme):
            raise InputError(
                f"scheme '{text}' depends on the rows; only a run can show what it does."
            )
        table = schedule(scheme, n_off=n_off, steps_per_epoch=steps_per_epoch, epochs=epochs)
        shares, shifts = table[:, 2], table[:, 3]
        above = [t for t in range(1, epochs + 1) if shares[t] >= 0.5]
        entry = {
            "online_share": shares.tolist(),
            "shift": shifts.tolist(),
            "jump_at_hand_over": float(shifts[1]),
            "peak_shift": float(shifts.max()),
            "peak_epoch": int(shifts.argmax()),
            "first_epoch_half_online": above[0] if above else None,
        }
        if scheme.name in ("moore", "peak_shift"):
            given = scheme.parameters
            alpha = given.get("alpha") or alpha_for_peak_tv(given["eps"], n_off, steps_per_epoch)
            entry["alpha"] = alpha
            entry["crossover_epoch"] = crossover_epoch(n_off, steps_per_epoch, alpha)
            entry["peak_shift_bound"] = peak_tv_bound(n_off, steps_per_epoch, alpha)
        result["schemes"][str(scheme)] = entry
    if peak is not None:
        result["peak"] = peak
        result["alpha_for_peak"] = alpha_for_peak_tv(peak, n_off, steps_per_epoch)
    return result
