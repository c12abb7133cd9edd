"""Which environment may be made: one that a file names is not, where that would run its code.

Gymnasium imports the module of an id like `module:Id-v0`. A log, a saved policy or another person's
configuration may hold any such name, so it needs the user's own word.
"""

from moore.errors import InputError


def trusted_env_id(given: str | None, found: str | None, *, where: str) -> str | None:
    """The id to make the environment by: the user's, else the one that was found in a file.

    Args:
        given: by the user, with a flag or in Python; None or empty: nothing.
        found: in a log, a saved policy or a run folder; None or empty: it names none.
        where: it was found, for the error, such as "the log hopper.hdf5".

    Returns:
        The id; None if there is none. Nothing is imported here.

    Raises:
        InputError: only the file names it, and making it would import a module.
    """
    if given:
        return given
    if found and ":" in found:
        raise InputError(
            f"{where} names the environment {found}, which would import and run the Python module "
            f"{found.partition(':')[0]}; if you trust it, give the name yourself: --env-id {found}."
        )
    return found or None
