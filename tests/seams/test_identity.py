"""`yumai keys issue` and `yumai token` on a real broker."""

import json
from pathlib import Path

import pytest
from kafka.admin import KafkaAdminClient

from console.cli import main
from yumai.access import Identity, Principal


@pytest.fixture
def state(tmp_path: Path, kafka: str) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "up.json").write_text(json.dumps({"bootstrap": kafka}))
    return tmp_path


def principal(state: Path, credential: str) -> Principal | None:
    return Identity(state / "identity").authenticate(f"Bearer {credential}")


def test_a_key_is_valid_and_its_feed_is_there(
    state: Path, kafka: str, unique: str, capsys: pytest.CaptureFixture
) -> None:
    keys = []
    for _ in range(2):  # the first key stays valid
        assert main(["keys", "issue", "--platform", unique, "--state", str(state), "--json"]) == 0
        keys.append(json.loads(capsys.readouterr().out)["key"])
    for key in keys:
        assert principal(state, key) == Principal("platform", unique, unique)
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    (topic,) = admin.describe_topics([f"feed.{unique}.v1"])
    admin.close()
    assert [part["leader_id"] >= 0 for part in topic["partitions"]] == [True, True]
    assert (state / "identity" / "keys.json").stat().st_mode & 0o077 == 0


def test_without_a_broker_the_key_is_issued_and_the_missing_topic_said(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "up.json").write_text(json.dumps({"bootstrap": "127.0.0.1:9"}))
    assert main(["keys", "issue", "--platform", "wxpay", "--state", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert principal(tmp_path, json.loads(printed.out)["key"]) is not None
    assert "feed.wxpay.v1 is not there" in printed.err


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("bureau", Principal("bureau", "", "李雷")),
        ("district:500103", Principal("district", "500103", "李雷")),
        ("platform:wxpay", Principal("platform", "wxpay", "李雷")),
    ],
)
def test_a_token_is_who_it_says(
    tmp_path: Path, role: str, expected: Principal, capsys: pytest.CaptureFixture
) -> None:
    assert main(["token", "--role", role, "--name", "李雷", "--state", str(tmp_path)]) == 0
    assert principal(tmp_path, json.loads(capsys.readouterr().out)["token"]) == expected


@pytest.mark.parametrize(
    "arguments", [["token", "--role", "mayor"], ["keys", "issue", "--platform", "a/b"]]
)
def test_a_wrong_role_or_platform_is_refused(tmp_path: Path, arguments: list[str]) -> None:
    assert main([*arguments, "--state", str(tmp_path)]) == 2
