"""All checks that read files only: some seconds."""

from __future__ import annotations

from pathlib import Path as File

import yaml

from deploy.check import (
    amounts,
    clickhouse,
    environment,
    exporters,
    kafka,
    names,
    networks,
    references,
    rendered,
    schemas,
    telemetry,
    tree,
)
from deploy.check.cluster import Cluster
from deploy.check.findings import Finding


def check(root: File, kubectl: str, crds: File) -> tuple[list[Finding], set[str]]:
    """Findings of both overlays, each once; and the kinds whose definition is not there."""
    found: list[Finding] = [*tree.parse_problems(root), *rendered.check(root)]
    unknown: set[str] = set()
    definitions = schemas.definitions(crds)
    for overlay in tree.OVERLAYS:
        try:
            built = tree.build(root, overlay, kubectl)
        except tree.NotBuilt as error:
            if not found:  # else that is why
                found.append(error.finding)
            continue
        except yaml.YAMLError:  # told by parse_problems
            continue
        wrong, missing = schemas.check(built, definitions)
        unknown |= missing
        found += wrong
        cluster = Cluster(built, root)
        for part in (
            telemetry.check(cluster, root),
            exporters.check(cluster, root),
            *(
                m.check(cluster)
                for m in (amounts, environment, references, names, kafka, networks, clickhouse)
            ),
        ):
            try:
                found += part
            except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
                # A field of a wrong type may break a check that comes after its schema: the schema's finding is told.
                if not wrong:
                    raise
                found.append(
                    Finding("deploy/k8s", f"overlay {overlay}", f"a check could not go on: {error}")
                )
    found += telemetry.check_files(root)
    return sorted(set(found)), unknown
