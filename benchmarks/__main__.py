"""`python -m benchmarks [RUN]`: what connbench itself costs; RUN (the latest) is where the phases are read from."""

import sys
from pathlib import Path

from benchmarks import generator, overhead, recorder, sampler, timing

if __name__ == "__main__":
    recorder.main()
    generator.main()
    sampler.main()
    timing.main()
    overhead.main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("results/latest"))
