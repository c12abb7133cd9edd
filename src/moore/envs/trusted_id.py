"""Which environments may be made. If only a file names one, and making it runs code, it may not.

Gymnasium imports the module of an id like `module:Id-v0`. A log, a saved policy or another person's
configuration may name any module, so the user has to name such an id.
"""

from moore.errors import InputError


def trusted_env_id(given: str | None, found: str | None, *, where: str) -> str | None:
    """The id to make the environment by: the user's, else the one that was found in a file.

    Args:
        given: id that the user gave with a flag or in Python; None or empty if there is none.
        found: id in a log, a saved policy or a run folder; None or empty if it names none.
        where: the place where `found` was found, for the error, such as "the log hopper.hdf5".

    Returns:
        The id; None if there is none. Nothing is imported here.

    Raises:
        InputError: only the file names the environment, and making it would import a module.
    """
    if given:
        return given
    if found and ":" in found:
        raise InputError(
            f"{where} names the environment {found}, which would import and run the Python module "
            f"{found.partition(':')[0]}; if you trust it, give the name yourself: --env-id {found}."
        )
    return found or None
