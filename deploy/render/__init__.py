"""Manifests that follow from tables of the code: `python -m deploy.render` writes them, a test holds them equal."""
