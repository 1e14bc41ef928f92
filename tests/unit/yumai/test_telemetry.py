"""The catalogue of metrics: named by convention, bounded, complete."""

import math
import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from yumai.observability import telemetry
from yumai.observability.instruments import (
    OTHER,
    UNIT_SUFFIX,
    Counter,
    Gauge,
    Histogram,
    Metric,
    Numbers,
)

ALL = list(telemetry.CATALOGUE.values())
UNITS = re.compile(r"\{[a-z_]+\}|s|By")


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_a_metric_is_named_as_prometheus_wants_it(metric: Metric) -> None:
    assert re.fullmatch(r"yumai_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") == isinstance(metric, Counter)
    assert UNITS.fullmatch(metric.unit)
    suffix = UNIT_SUFFIX.get(metric.unit)
    if suffix:
        assert metric.name.removesuffix("_total").endswith(suffix)
    else:
        assert not metric.name.removesuffix("_total").endswith(tuple(UNIT_SUFFIX.values()))
    assert metric.by
    assert set(metric.by) <= set(telemetry.SERVICES)


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_a_metric_says_in_one_sentence_what_it_is(metric: Metric) -> None:
    assert re.fullmatch(r"[A-Z].*[^.]\.", metric.says)
    assert "\n" not in metric.says


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_labels_are_bounded(metric: Metric) -> None:
    for allowed in metric.labels.values():
        if isinstance(allowed, Numbers):
            assert allowed.below <= 720
        else:
            assert len(allowed) == len(set(allowed))
            assert all(isinstance(value, str) for value in allowed)
    forbidden = {"platform", "merchant", "district", "user", "receipt", "instance", "job", "le"}
    assert not forbidden & metric.labels.keys()


def test_a_histogram_has_buckets_in_order() -> None:
    for metric in ALL:
        if isinstance(metric, Histogram):
            assert list(metric.buckets) == sorted(metric.buckets)
            assert len(metric.buckets) >= 5


def test_each_constant_is_in_the_catalogue_once() -> None:
    named = [value for value in vars(telemetry).values() if isinstance(value, Metric)]
    assert len(named) == len(ALL) == len({metric.name for metric in named})


def test_an_unknown_value_is_counted_as_other_and_an_unknown_label_is_an_error() -> None:
    counter = Counter("test_things_total", "{thing}", "Things.", (), {"kind": ("a", OTHER)})
    counter.inc(kind="never heard of")
    assert REGISTRY.get_sample_value("test_things_total", {"kind": OTHER}) == 1
    with pytest.raises(ValueError, match="labels"):
        counter.inc(colour="red")
    with pytest.raises(ValueError, match="labels"):
        counter.inc()


def test_a_partition_label_takes_numbers_below_its_bound_only() -> None:
    partitions = Numbers(720)
    assert all(value in partitions for value in (0, "0", 719, "719"))
    assert not any(value in partitions for value in (720, "-1", "01", "x", "", None))


def test_a_gauge_is_not_a_number_until_it_is_known() -> None:
    gauge = Gauge("test_depth", "{thing}", "Things.", ())
    gauge.begin()
    assert math.isnan(REGISTRY.get_sample_value("test_depth") or 0)
    gauge.set(3)
    assert REGISTRY.get_sample_value("test_depth") == 3
    gauge.set(None)
    assert math.isnan(REGISTRY.get_sample_value("test_depth") or 0)


def test_series_of_a_gauge_go_when_what_they_tell_of_has_gone() -> None:
    gauge = Gauge("test_lag", "{thing}", "Things.", (), {"partition": Numbers(720)})
    gauge.begin()
    gauge.set_all({"0": 1, "1": 2})
    gauge.set_all({"1": 5})
    assert REGISTRY.get_sample_value("test_lag", {"partition": "0"}) is None
    assert REGISTRY.get_sample_value("test_lag", {"partition": "1"}) == 5


def test_every_route_is_a_value_of_its_services_path_label(tmp_path: Path) -> None:
    from services.gateway import app as gateway
    from services.ingest import app as ingest
    from yumai.process.settings import Settings

    settings = Settings(identity_dir=tmp_path)
    for build, paths in (
        (ingest.build, telemetry.INGEST_PATHS),
        (gateway.build, telemetry.GATEWAY_PATHS),
    ):
        routes = {getattr(route, "path", "") for route in build(settings).routes}
        assert routes <= set(paths)
        assert set(paths) - routes <= {telemetry.OUTSIDE, OTHER}
