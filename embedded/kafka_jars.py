"""Apache Kafka's jars, fetched once into the virtual environment.

Kafka needs no download page: it is published as Maven artefacts. `requirements/kafka.txt` pins all of them with their
SHA-256, so fetching is 46 files in parallel and no resolving. jgo knows where artefacts live and keeps what it fetched
in the user's Maven repository, so a second checkout on this machine copies instead of loading.

`python -m embedded.kafka_jars` fetches; `--lock` resolves the versions and writes `requirements/kafka.txt`.
"""

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

VERSION = "4.3.1"
SCALA = "2.13"
# slf4j-simple, not log4j-slf4j-impl: that one's parent lets jgo downgrade kafka-clients to 3.9.
WANTED = (f"org.apache.kafka:kafka_{SCALA}:{VERSION}", "org.slf4j:slf4j-simple:1.7.36")
LOCK = Path(__file__).parent.parent / "requirements" / "kafka.txt"
HOME = Path(sys.prefix) / "share" / "yumai" / f"kafka-{VERSION}"
TRIES = 4


@dataclass(frozen=True)
class Jar:
    coordinates: str  # group:artifact:version
    sha256: str

    @property
    def filename(self) -> str:
        _, artifact, version = self.coordinates.split(":")
        return f"{artifact}-{version}.jar"


def read_lock(text: str) -> list[Jar]:
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return [Jar(name, digest.removeprefix("--hash=sha256:")) for name, digest in lines]


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _maven(repository: Path):  # type: ignore[no-untyped-def]
    """A Maven context that trusts what this machine trusts (a company's proxy has its own certificate)."""
    import truststore

    truststore.inject_into_ssl()
    from jgo.maven import MavenContext

    return MavenContext(repo_cache=repository, timeout=60)


def _repository() -> Path:
    """Maven's own local repository, or a throw-away one where the home directory can't be written."""
    wanted = Path(os.environ.get("M2_REPO") or Path.home() / ".m2" / "repository")
    try:
        wanted.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="yumai-maven-"))
    return wanted if os.access(wanted, os.W_OK) else Path(tempfile.mkdtemp(prefix="yumai-maven-"))


def _fetch(maven, jar: Jar, folder: Path) -> None:  # type: ignore[no-untyped-def]
    for attempt in range(1, TRIES + 1):
        try:
            found = maven.create_dependency(jar.coordinates).artifact.resolve()
            if sha256(found) == jar.sha256:
                shutil.copyfile(found, folder / jar.filename)
                return
            found.unlink()  # cut off by an earlier, interrupted install; or not what we know
            reason = "its SHA-256 is not the one in requirements/kafka.txt"
        except Exception as error:
            reason = str(error)
        if attempt == TRIES:
            raise RuntimeError(f"{jar.coordinates} can't be had: {reason}")


def installed() -> bool:
    return (HOME / "stamp").is_file() and (HOME / "stamp").read_text() == LOCK.read_text()


def ensure() -> Path:
    """The folder with exactly the locked jars; fetches them unless that was done before."""
    if installed():
        return HOME
    jars = read_lock(LOCK.read_text())
    print(f"fetching Apache Kafka {VERSION} ({len(jars)} jars)", flush=True)
    HOME.parent.mkdir(parents=True, exist_ok=True)
    maven = _maven(_repository())
    folder = Path(tempfile.mkdtemp(prefix=".kafka-", dir=HOME.parent))
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda jar: _fetch(maven, jar, folder), jars))
        (folder / "stamp").write_text(LOCK.read_text())
        shutil.rmtree(HOME, ignore_errors=True)
        folder.rename(HOME)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return HOME


def classpath() -> str:
    return str(ensure() / "*")


def lock() -> str:
    """Resolves Kafka's dependencies and returns the lock file's text; refuses a set that can't work."""
    with tempfile.TemporaryDirectory() as folder:
        maven = _maven(Path(folder))
        wanted, needed = maven.resolver.resolve([maven.create_dependency(name) for name in WANTED])
        artifacts = [dependency.artifact for dependency in [*wanted, *needed]]
        for artifact in artifacts:
            if artifact.groupId == "org.apache.kafka" and artifact.version != VERSION:
                raise RuntimeError(f"{artifact} instead of version {VERSION}")
        lines = sorted(
            f"{a.groupId}:{a.artifactId}:{a.version} --hash=sha256:{sha256(a.resolve())}"
            for a in artifacts
        )
    header = "# Apache Kafka and all it needs, by Maven coordinates. Written by `make lock`."
    return "\n".join([header, *lines]) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--lock", action="store_true", help="resolve the versions, write the lock file"
    )
    if parser.parse_args().lock:
        LOCK.write_text(lock())
    else:
        print(f"Apache Kafka {VERSION}: {ensure()}")
