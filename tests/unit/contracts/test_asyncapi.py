"""`contracts/asyncapi.yaml` says what the codecs and the topics' settings say."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts import traces
from contracts.entries import codec as entries
from tests.contracts_now import ALL_TOPICS, ARROW, RECORDS, of_codec, resolved
from yumai import topics

ROOT = Path(__file__).parents[3]
TRACED = traces.to_kafka([f"00-{n:032x}-{n:016x}-01" for n in (1, 2)])
DOCUMENT = yaml.safe_load((ROOT / "contracts/asyncapi.yaml").read_text())
CHANNELS = {channel["address"]: channel for channel in DOCUMENT["channels"].values()}
MESSAGES, SCHEMAS = DOCUMENT["components"]["messages"], DOCUMENT["components"]["schemas"]


def of_document(message: dict[str, Any]) -> Any:
    return resolved(message["payload"], SCHEMAS)


def messages_of(address: str) -> list[dict[str, Any]]:
    found = CHANNELS[address]["messages"].values()
    return [MESSAGES[message["$ref"].rpartition("/")[2]] for message in found]


def test_every_topic_is_a_channel_and_nothing_else_is() -> None:
    assert set(CHANNELS) == {topic.name for topic in ALL_TOPICS}


@pytest.mark.parametrize("topic", ALL_TOPICS, ids=lambda topic: topic.name)
def test_a_channel_has_its_topics_settings(topic: topics.Topic) -> None:
    channel = CHANNELS[topic.name]
    binding = channel["bindings"]["kafka"]
    assert channel["summary"] == topic.meaning
    assert binding["partitions"] == topic.partitions
    assert binding.get("topic", topic.name) == topic.name
    said = {
        name: ",".join(value) if isinstance(value, list) else str(value)
        for name, value in binding["topicConfiguration"].items()
    }
    assert said == topic.settings
    for message in messages_of(topic.name):
        assert message["bindings"]["kafka"]["key"]["description"].startswith(topic.key)


@pytest.mark.parametrize("address", RECORDS)
def test_a_payload_is_what_its_codec_writes(address: str) -> None:
    said = [of_document(message) for message in messages_of(address)]
    # A field that came to a codec is to be said in contracts/asyncapi.yaml too.
    assert said == [of_codec(kind) for kind in RECORDS[address]]
    assert {m["contentType"] for m in messages_of(address)} == {"application/json"}


@pytest.mark.parametrize("address", ARROW)
def test_an_arrow_payload_has_its_codecs_columns(address: str) -> None:
    (message,) = messages_of(address)
    said = [(c["name"], c["type"]) for c in message["payload"]["x-arrow-schema"]]
    assert said == [(f.name, str(f.type)) for f in ARROW[address]]
    assert message["contentType"] == "application/vnd.apache.arrow.stream"


def test_headers_of_a_batch_are_those_that_the_codec_writes() -> None:
    (message,) = messages_of("entries.v1")
    headers = message["headers"]
    least = dict(entries.Header(1, 1).to_kafka())
    most = dict([*entries.Header(1, 1, "2026-01-01").to_kafka(), *TRACED])
    assert set(headers["required"]) == set(least)
    assert set(headers["properties"]) == set(most)
    assert headers["properties"]["v"]["enum"] == list(entries.VERSIONS)
    assert headers["properties"]["slots"]["enum"] == list(entries.SLOT_FUNCTIONS)
    assert (
        entries.VERSIONS[-1],
        entries.SLOT_FUNCTIONS[-1],
    ) == (entries.VERSION, entries.SLOT_FUNCTION)


@pytest.mark.parametrize("address", ["commits.v1", "alerts.v1"])
def test_what_is_told_on_may_carry_its_traces(address: str) -> None:
    (message,) = messages_of(address)
    assert set(message["headers"]["properties"]) == {name for name, _ in TRACED}


def test_a_feeds_payload_is_the_entry() -> None:
    (message,) = messages_of("feed.{platform}.v1")
    path = ROOT / "contracts" / message["payload"]["$ref"]
    assert json.loads(path.read_text())["title"] == "Entry"


def test_nothing_is_described_that_no_message_uses() -> None:
    text = (ROOT / "contracts/asyncapi.yaml").read_text()
    for name in SCHEMAS:
        assert f"schemas/{name}'" in text, name
    for name in MESSAGES:
        assert f"messages/{name}'" in text, name


PARSER = ROOT / ".venv/share/yumai/asyncapi/node_modules"


@pytest.mark.skipif(
    not shutil.which("node") or not PARSER.is_dir(), reason="the official parser: `make asyncapi`"
)
@pytest.mark.parametrize("planted", ["", "adress", "reference"])
def test_the_official_parser_finds_no_fault_but_one_that_is_planted(
    planted: str, tmp_path: Path
) -> None:
    text = (ROOT / "contracts/asyncapi.yaml").read_text()
    if planted == "adress":
        text = text.replace("address: commits.v1", "adress: commits.v1")
    if planted == "reference":
        text = text.replace("schemas/Commit'", "schemas/Comit'")
    shutil.copytree(ROOT / "contracts/entries", tmp_path / "entries")
    (tmp_path / "asyncapi.yaml").write_text(text)
    command = ["node", str(ROOT / "contracts/check-asyncapi.mjs"), str(PARSER)]
    done = subprocess.run(
        [*command, str(tmp_path / "asyncapi.yaml")], capture_output=True, text=True
    )
    assert (done.returncode == 0) == (not planted), done.stderr
    assert not planted or ("dress" in done.stderr or "Comit" in done.stderr)
