"""The moment at which Locust itself cuts a request off: a user whose wait is over when it is told to stop."""

import subprocess
import sys

import pytest

# In a process of its own: Locust patches the standard library. The stop is told after the user has begun to wait and
# before it wakes, so that the kill comes right behind the end of the wait.
SCRIPT = """
import sys
import gevent
from gevent.pool import Group
from locust import User, task
from locust.env import Environment
from runner.load.leaving import leave_between_requests

begun, done = [], []

class Visitor(User):
    def wait_time(self):
        gevent.spawn(self.stop)
        return 0

    @task
    def ask(self):
        begun.append(1)
        gevent.sleep(0.05)
        done.append(1)

if sys.argv[1] == "ours":
    leave_between_requests(Visitor)
users = Group()
Visitor(Environment(user_classes=[Visitor], host="http://127.0.0.1")).start(users)
users.join(timeout=120)
print(len(begun), len(done))
"""


@pytest.mark.parametrize(("whose", "counts"), [("ours", "1 1"), ("locust", "2 1")])
def test_a_user_that_wakes_as_it_is_told_to_stop_begins_nothing(whose: str, counts: str) -> None:
    """Locust's own way begins a second request and kills it; should that ever change, ours can go."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, whose], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.strip() == counts
