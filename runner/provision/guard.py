"""A process that outlives the runner by a moment: it cleans up after a runner that died without a word (kill -9).

The end of its input says that the runner is gone, in order or not. What there is to clean the journal tells; after an
orderly end there is nothing. Should the guard be killed as well, the next command does the same.
"""

import signal
import sys
from pathlib import Path

from runner.provision.journal import held, read_journal
from runner.provision.leftovers import clean

if __name__ == "__main__":
    # Ctrl-C and a closed terminal concern the runner; the guard goes when the runner has gone.
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    sys.stdin.read()
    journal = Path(sys.argv[1])
    with held(journal, wait=True) as mine:
        if mine:
            clean(read_journal(journal))
