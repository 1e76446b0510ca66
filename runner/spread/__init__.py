"""One run spread over identical hosts: Dask's workers measure its blocks, the results come into one folder."""
