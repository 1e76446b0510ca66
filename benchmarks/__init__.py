"""What connbench itself costs. `make benchmarks` runs all of them; nothing here passes or fails."""
