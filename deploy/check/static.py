"""All checks that read files only: some seconds."""

from __future__ import annotations

from pathlib import Path as File

from deploy.check import alarms, containerfile, environment, fits, references, rendered, tree
from deploy.check.cluster import Cluster
from deploy.check.findings import Finding


def check(root: File, kubectl: str | None) -> list[Finding]:
    """Without kubectl: no more than what needs no building."""
    found = [*rendered.check(root), *containerfile.check(root), *alarms.check(root)]
    for overlay in tree.OVERLAYS if kubectl else ():
        try:
            cluster = Cluster(tree.build(root, overlay, str(kubectl)))
        except tree.NotBuilt as error:
            found.append(error.args[0])
            continue
        for part in (references, fits, environment):
            try:
                found += part.check(cluster)
            except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
                found.append(Finding("deploy/k8s", overlay, f"a check could not go on: {error!r}"))
    return sorted(set(found))
