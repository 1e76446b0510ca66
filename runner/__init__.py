"""connbench: how should a Django deployment hold its database connections?"""
