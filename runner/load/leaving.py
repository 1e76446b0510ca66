"""A user that is told to stop begins nothing more, and what it has begun is not cut off.

Locust kills a user that waits between two tasks. A user whose wait is over at that very moment has been woken already:
it goes on to its next request, and the kill arrives in the middle of it. The server has then seen a request that is
in no record.
"""

from typing import Any

from locust.user.task import LOCUST_STATE_STOPPING, LOCUST_STATE_WAITING


def leave_between_requests(user_class: Any) -> None:
    """Users of this class see that they are to stop when they wake before the kill has come.

    Locust looks at a user's state after each wait and before each task. A task that is under way is finished.
    """
    own_stop = user_class.stop

    def stop(user: Any, force: bool = False) -> Any:
        # Locust has no public name for any of this.
        if not force and user._state == LOCUST_STATE_WAITING:  # noqa: SLF001
            user._state = LOCUST_STATE_STOPPING  # noqa: SLF001
            user.group.killone(user.greenlet)
            return True
        return own_stop(user, force)

    user_class.stop = stop
