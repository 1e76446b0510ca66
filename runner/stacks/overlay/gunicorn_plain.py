"""gunicorn's configuration, which is empty: it would otherwise take a `gunicorn.conf.py` of the project's."""
