"""Taking up somebody's own Django project: looked at, started once, written down as app.yaml and a matrix."""
