"""What connbench itself costs and what its verdicts are worth. `make benchmarks` runs them; nothing passes or fails.

Every benchmark is a module with `measure() -> dict`: plain values by name, numbers in the unit that the name says
(`…_seconds`, `…_rps`, `…_microseconds`), rows of a table as a list of dicts. The runner keeps what it returns in
`benchmarks/<name>.json` with the command, the host, the versions and the date, and `python -m benchmarks accuracy`
makes docs/accuracy.md of these files. A module may have `page(results) -> str` as well: Markdown for its section,
where a plain table of the results would not do.
"""
