"""Errors that end a command, each with the exit code that the design gives it."""


class ConnbenchError(Exception):
    """What happened, where, and what to do: the message is shown to the user as it stands."""

    exit_code = 1


class UsageError(ConnbenchError):
    """Bad usage, a bad matrix or a bad run folder; nothing was started."""

    exit_code = 2


class EnvironmentUnfit(ConnbenchError):
    """This machine cannot run it: the message names what is missing and the command that mends it."""

    exit_code = 3


class StackError(ConnbenchError):
    """A component of one stack failed; the attempt fails, the run goes on."""


class LoadHostLost(StackError):
    """A host that drives load is gone: what was measured without it is void, and the stack is not to blame."""


class PortLost(StackError):
    """Something else answers at the port that was chosen; another port will do."""


class ResultsUnwritable(EnvironmentUnfit):
    """The run's folder takes no more: the run ends, what is finished stays."""


class DatabaseLost(StackError):
    """A database server ended, hangs or refuses the harness: its cells cannot go on, and none of them is to blame."""


class Interrupted(ConnbenchError):
    """The run is being stopped; what was measured is kept."""
