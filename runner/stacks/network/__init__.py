"""The distance between an app and its database."""
