"""The published site: static files that anything can serve, made of run folders and the nights' history."""
