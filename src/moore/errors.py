"""The errors that a user can do something about."""


class InputError(ValueError):
    """Bad input: the message says what was given, what was expected and what to do.

    The command line prints the message as one line and exits with status 2.
    """
