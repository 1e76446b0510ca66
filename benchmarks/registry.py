"""Every benchmark that is kept, in the order of docs/accuracy.md. A new one is one module and its row here."""

from collections.abc import Mapping
from typing import Any, Protocol

from benchmarks import gate, generator, interleaving, overhead, recorder, sampler, scale, size, soak, timing


class Benchmark(Protocol):
    """A module with `measure`, which may take `rounds` (how often it repeats itself), `hours` (how long it goes on at
    least) and `keep` (a function to hand the results to as they come). Results with `flat: false` are a failure."""

    __doc__: str | None

    @property
    def measure(self) -> Any: ...


BENCHMARKS: Mapping[str, Benchmark] = {
    "gate": gate,
    "interleaving": interleaving,
    "recorder": recorder,
    "generator": generator,
    "sampler": sampler,
    "timing": timing,
    "overhead": overhead,
    "soak": soak,
    "size": size,
    "scale": scale,
}
