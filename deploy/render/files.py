"""Which manifest is rendered from what, and how a document is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from deploy.render import kafka, networks, rules, settings, workloads

Doc = dict[str, Any]
BASE = "deploy/k8s/base/"


@dataclass(frozen=True)
class Rendered:
    """`source`: where to change it."""

    source: str
    docs: Callable[[], list[Doc]]


FILES = {
    BASE + "topics.yaml": Rendered("yumai/topics.py", kafka.shared),
    BASE + "users.yaml": Rendered("yumai/broker/principals.py", kafka.users),
    BASE + "platforms.yaml": Rendered("deploy/render/kafka.py", kafka.platforms),
    BASE + "network.yaml": Rendered("deploy/render/networks.py", networks.policies),
    BASE + "settings.yaml": Rendered("deploy/render/settings.py", settings.config_map),
    BASE + "rules.yaml": Rendered("deploy/rules.yaml", rules.prometheus_rule),
    **{
        f"{BASE}{one.name}.yaml": Rendered("deploy/render/workloads.py", one.docs)
        for one in (*workloads.SERVICES, *workloads.JOBS)
    },
}


class _Dumper(yaml.SafeDumper):
    """Lists indented below their key, as Kubernetes' own examples have them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def text(name: str) -> str:
    """The file as it should be."""
    rendered = FILES[name]
    head = f"# Rendered from {rendered.source} by `python -m deploy.render`: change it there.\n"
    return head + yaml.dump_all(
        rendered.docs(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110
    )
