"""Who else writes targets: a second gateway at the same time, the demo after the bureau. On the real broker."""

import asyncio
from pathlib import Path

import httpx
from kafka import KafkaProducer

from contracts.targets.codec import Version, encode, of_versions
from services.gateway.app import build
from simulation.demo import pour, progress
from yumai import topics
from yumai.access import Identity
from yumai.broker import provision
from yumai.broker.target_log import keys
from yumai.process.settings import Settings

TIMES = 6
YEAR = 2031


async def test_no_version_is_lost(kafka: str, tmp_path: Path) -> None:
    provision.ensure(kafka)
    settings = Settings(kafka_bootstrap=kafka, identity_dir=tmp_path)
    headers = {"Authorization": f"Bearer {Identity(tmp_path).issue_token('bureau')}"}
    apps = [build(settings) for _ in range(2)]

    async def act(number: int) -> list[tuple[int, int]]:
        register = apps[number].state.register
        reading = asyncio.ensure_future(register.run())
        write = register.write_all

        async def slowly(topic: topics.Topic, records: object) -> int:
            # Long enough that the other has read the same log by now.
            await asyncio.sleep(0.05)
            return await write(topic, records)

        register.write_all = slowly
        transport = httpx.ASGITransport(apps[number])
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            row = {"year": YEAR, "district": "500110", "form": "amount"}
            for n in range(TIMES):
                body = [row | {"value": 1 + number + 2 * n}]
                answer = await client.put("/v1/targets", json=body, headers=headers, timeout=60)
                assert answer.status_code == 200, answer.text
            await together.wait()
            answer = await client.get(f"/v1/targets?year={YEAR}", headers=headers, timeout=60)
        reading.cancel()
        await asyncio.wait([reading])
        await register.close()
        (found,) = (t for t in answer.json()["data"] if t["district"] == "500110")
        return [(v["version"], v["value"]) for v in found["history"]]

    together = asyncio.Barrier(2)
    first, second = await asyncio.gather(act(0), act(1))
    assert first == second
    assert [version for version, _ in first] == list(range(1, 2 * TIMES + 1))
    assert sorted(value for _, value in first) == list(range(1, 2 * TIMES + 1))


def test_a_demo_that_forgot_what_it_did_leaves_the_bureaus_targets(
    kafka: str, tmp_path: Path
) -> None:
    provision.ensure(kafka)
    flow = pour.demo_flow(progress.SEED, 10.0)
    year = progress.day_at(progress.present_ms()).year
    begun = progress.Progress(tmp_path / "demo.json", first=f"{year - 1}-01-01", per_day=10.0)
    mine = of_versions(year, "500120", None, (Version(1, "amount", 5, 5, by="bureau", at=1),))
    producer = KafkaProducer(bootstrap_servers=kafka)
    producer.send(topics.TARGETS.name, encode(mine), mine.key.encode()).get(30)
    producer.close()
    # Other tests use this broker too.
    held = keys(kafka)
    said: list[str] = []
    pour._put_targets(kafka, flow, begun, said.append)
    others = len([k for k in keys(kafka) - held if k.startswith(f"{year}/50")])
    assert others
    assert said == [f"targets: {others}, for {year}"]
