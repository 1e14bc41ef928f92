"""Which file is rendered from what, and how a document is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from deploy.render import (
    brokers,
    compose,
    dashboards,
    entrance,
    kafka,
    monitors,
    networks,
    overlays,
    rules,
    scaling,
    secrets,
    settings,
    sizes,
    store,
    workloads,
)

K8S = "deploy/k8s/"
BASE, PRODUCTION, TRIAL = (
    f"{K8S}{name}/" for name in ("base", "overlays/production", "overlays/trial")
)
COMPOSE = "deploy/compose/"


@dataclass(frozen=True)
class Rendered:
    """`source`: where to change it."""

    source: str
    docs: Callable[[], list[Any]]

    def text(self) -> str:
        """YAML, which says where it comes from."""
        head = f"# Rendered from {self.source} by `python -m deploy.render`: change it there.\n"
        return head + yaml.dump_all(
            self.docs(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110
        )


class Board(Rendered):
    """JSON can't say it."""

    def text(self) -> str:
        return json.dumps(self.docs()[0], ensure_ascii=False, indent=1) + "\n"


def _from(module: str, docs: Callable[[], list[Any]]) -> Rendered:
    return Rendered(f"deploy/render/{module}.py", docs)


_RESOURCES = {
    "namespace.yaml": _from("overlays", overlays.namespace),
    "settings.yaml": _from("settings", settings.config_map),
    "kafka.yaml": _from("brokers", brokers.base),
    "topics.yaml": Rendered("yumai/topics.py", kafka.shared),
    "users.yaml": Rendered("yumai/broker/principals.py", kafka.users),
    "platforms.yaml": _from("kafka", kafka.platforms),
    "clickhouse.yaml": _from("store", store.base),
    **{
        f"{one.name}.yaml": _from("workloads", one.docs)
        for one in (*workloads.JOBS, *workloads.SERVICES)
    },
    "scaling.yaml": _from("scaling", scaling.base),
    "network.yaml": _from("networks", networks.policies),
    "routes.yaml": _from("entrance", entrance.docs),
    "monitors.yaml": _from("monitors", monitors.docs),
    "rules.yaml": Rendered("deploy/rules.yaml", rules.prometheus_rule),
}
"""Of base, in the order in which they are applied."""
_CONFIG = "kustomization.yaml"
FILES = {
    f"{K8S}secrets.yaml": _from("secrets", secrets.contract),
    f"{BASE}{_CONFIG}": _from("overlays", lambda: overlays.base(list(_RESOURCES))),
    **{f"{BASE}{name}": rendered for name, rendered in _RESOURCES.items()},
    f"{PRODUCTION}{_CONFIG}": _from("overlays", overlays.production),
    f"{PRODUCTION}cluster.yaml": _from("overlays", overlays.clustered),
    f"{PRODUCTION}listeners.yaml": _from("brokers", brokers.listeners),
    f"{PRODUCTION}network.yaml": _from("networks", networks.of_platforms),
    f"{PRODUCTION}secrets.yaml": _from("secrets", secrets.from_the_vault),
    f"{PRODUCTION}spread.yaml": _from("overlays", overlays.strictly_spread),
    f"{TRIAL}{_CONFIG}": _from("overlays", overlays.trial),
    f"{TRIAL}kafka.yaml": _from("brokers", lambda: brokers.patches(sizes.TRIAL)),
    f"{TRIAL}clickhouse.yaml": _from("store", lambda: store.patches(sizes.TRIAL)),
    f"{TRIAL}scaling.yaml": _from("scaling", lambda: scaling.patches(sizes.TRIAL)),
    f"{TRIAL}topics.yaml": _from("overlays", overlays.one_copy),
    f"{TRIAL}entries.yaml": _from("overlays", overlays.fewer_partitions),
    f"{TRIAL}small.yaml": _from("overlays", overlays.small),
    "deploy/compose.yaml": _from("compose", compose.compose),
    f"{COMPOSE}prometheus.yaml": _from("monitors", monitors.prometheus),
    f"{COMPOSE}otel-collector.yaml": _from("compose", compose.collector),
    f"{COMPOSE}clickhouse-inserts.yaml": _from("compose", compose.inserts),
    f"{COMPOSE}grafana/dashboards/yumai.yaml": _from("compose", compose.boards),
    f"{COMPOSE}grafana/datasources/prometheus.yaml": _from("compose", compose.data_sources),
    **{
        f"deploy/dashboards/{name}.json": Board("deploy/dashboards.yaml", board.docs)
        for name, board in dashboards.boards().items()
    },
}


class _Dumper(yaml.SafeDumper):
    """Lists indented below their key, as Kubernetes' own examples have them; lines stay lines."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


_Dumper.add_representer(str, _text)


def text(name: str) -> str:
    """The file as it should be."""
    return FILES[name].text()
