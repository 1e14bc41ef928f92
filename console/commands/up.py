"""`yumai up`: the whole of Yumai in the foreground, until SIGINT or SIGTERM."""

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from console.cli import Refusal
from console.running import kafka_users, ports, probes
from console.running.control import Control
from console.running.processes import DEFAULT_PORT_BASE, MOST_WORKERS, SCALABLE, Plan
from console.running.state import State, born, lives
from console.running.supervisor import Child, Program, Supervisor

DEMO_ROLES = ("bureau", "district:500103", "district:500157")
# How long the last `up`, killed with -9, may hold its ports while its children die.
LEFTOVERS_SECONDS = 20.0


def register(subparsers) -> None:  # type: ignore[no-untyped-def]
    parser = subparsers.add_parser("up", help="run everything in the foreground")
    parser.add_argument("--empty", action="store_true", help="no demo data and no live stream")
    parser.add_argument(
        "--port-base",
        type=int,
        default=int(os.environ.get("YUMAI_PORT_BASE") or DEFAULT_PORT_BASE),
        metavar="N",
        help=f"the page's port; the others follow it (default {DEFAULT_PORT_BASE})",
    )
    parser.add_argument(
        "--secure",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="Kafka's clients by TLS, too (default: as this state was last run)",
    )
    parser.add_argument("--metrics-workers", type=int, default=1, metavar="N")
    parser.add_argument(
        "--canary",
        action=argparse.BooleanOptionalAction,
        help="a synthetic entry a minute through every door, in no figure (default: not with --empty)",
    )
    parser.set_defaults(run=up)


def up(args: argparse.Namespace) -> int:
    if not 0 <= args.metrics_workers <= MOST_WORKERS:
        raise Refusal(f"want 0 to {MOST_WORKERS} metrics workers")
    if not 1 <= args.port_base <= 65_535 - 40 - MOST_WORKERS:
        raise Refusal(f"--port-base {args.port_base}: no room for the ports above it")
    state = State(args.state)
    # What children make, too, is their owner's alone.
    os.umask(0o077)
    if state.create():
        tell(f"{state.directory}: others could read it; now only its owner can")
    lock = state.lock()
    if lock is None:
        other = (state.read_up() or {}).get("pid")
        raise Refusal(f"another `yumai up` (pid {other}) already runs on {state.directory}")
    with lock:
        before = state.read_up()
        tls = bool((before or {}).get("secure")) if args.secure is None else args.secure
        plan = Plan(state, args.port_base, tls)
        clear_leftovers(before)
        waiting = LEFTOVERS_SECONDS if before is not None and not before.get("stopped") else 0.0
        canary = not args.empty if args.canary is None else args.canary
        ports.require_free(list(plan.ports(args.metrics_workers, 1, canary)), waiting)
        fetch_engines()
        make_secrets(plan)
        workers = {"metrics": args.metrics_workers, "alerts": 1}
        return Run(plan, workers, demo=not args.empty, canary=canary).run()


def clear_leftovers(before: dict[str, Any] | None) -> None:
    """Children of an `up` that was killed are ending; those still alive after 3 s are killed. We hold the lock, so none
    of them has a supervisor."""
    children = (before or {}).get("children", [])
    deadline = time.monotonic() + 3.0
    while any(lives(child) for child in children):
        if time.monotonic() > deadline:
            for child in filter(lives, children):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(child["pid"], signal.SIGKILL)
            deadline = time.monotonic() + 3.0
        time.sleep(0.05)


def make_secrets(plan: Plan) -> None:
    """Makes certificates and passwords of broker and store where they are missing. Raises OSError."""
    from embedded import certificates, secret_files

    state = plan.state
    certificates.ensure(state.tls)
    kafka_users.ensure_passwords(state)
    for file in (state.store_password, state.metrics_token):
        secret_files.ensure(file)
    properties = state.secrets / "kafka" / "client.properties"
    properties.touch(0o600)
    properties.write_text(kafka_users.administrator_properties(state, plan.internal))


def fetch_engines() -> None:
    """`make install` has done it; where it was not run, the first `up` does."""
    from embedded import java, kafka_jars

    if not kafka_jars.installed():
        java.ensure()
        kafka_jars.ensure()


def tell(text: str) -> None:
    """Prints a line. The terminal may have gone: that is no reason to stop."""
    with contextlib.suppress(OSError, ValueError):
        print(text, flush=True)


class Run:
    """One `up`, from the first start to the last stop."""

    def __init__(self, plan: Plan, workers: dict[str, int], demo: bool, canary: bool) -> None:
        self.plan = plan
        self.state = plan.state
        self.workers = workers
        self.demo = demo and find_spec("simulation.demo") is not None
        self.canary = canary
        self.began = time.monotonic()
        self.stop_asked = False
        self.prepare_again = False
        self.unwritten = False
        self.services_started = False
        self.demo_token = ""
        self.supervisor = Supervisor(self.state.logs, self.write_up, self.ended)

    def run(self) -> int:
        self.supervisor.catch_signals(self.ask_to_stop)
        control = Control(self.state.listen(), self.answer)
        try:
            self.say(f"starting broker, store (state in {self.state.directory})")
            for program in (self.plan.broker(), self.plan.store(), self.plan.prepare()):
                self.supervisor.add(program)
            self.write_up()
            while not self.stop_asked:
                self.supervisor.turn()
                if self.unwritten:
                    self.write_up()
                self.run_prepare_again()
        finally:
            control.close()
            self.say("stopping")
            self.supervisor.stop()
            self.write_up(stopped=True)
            self.say("stopped")
        return 0

    def ask_to_stop(self) -> None:
        self.stop_asked = True

    # What comes after what

    def ended(self, child: Child, code: int) -> None:
        """Called by the supervisor when a child died by itself or has finished its work."""
        name = child.program.name
        if name == "prepare" and code == 0:
            if not self.services_started:
                self.start_services()
            return
        if name == "demo" and child.program.once and code == 0:
            self.say("the simulated city is there; a live stream of it follows")
            self.supervisor.add(self.plan.demo("live", self.demo_token))
            self.introduce()
            return
        if name in ("broker", "store"):
            self.prepare_again = True
        # A crash loop is told three times, and then now and then.
        if child.deaths_in_a_row > 3 and child.deaths_in_a_row % 20:
            return
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        self.say(
            f"{name} died ({how}), starting it again in {child.delay():.1f} s; see {self.log(name)}"
        )
        if code > 0:
            self.quote(name)

    def services(self) -> list[Program]:
        programs = [self.plan.ingest()]
        for service, wanted in self.workers.items():
            programs += [self.plan.worker(service, n) for n in range(1, wanted + 1)]
        return [*programs, self.plan.gateway()]

    def start_services(self) -> None:
        """After the engines, although services wait by themselves: started beside them on two cores, their imports
        starve the broker, and everything is ready later (measured: 10 s for the broker alone instead of 3)."""
        self.services_started = True
        programs = self.services()
        self.say(
            f"broker, store, topics and tables are there; starting {', '.join(p.name for p in programs)}"
        )
        for program in programs:
            self.supervisor.add(program)
        threading.Thread(target=self.wait_until_ready, daemon=True).start()

    def run_prepare_again(self) -> None:
        """An engine that died may have come back with an empty directory."""
        child = self.supervisor.children["prepare"]
        if self.prepare_again and child.done:
            self.prepare_again = False
            self.supervisor.add(self.plan.prepare())

    def wait_until_ready(self) -> None:
        """In a thread of its own: says who is waited for, then hands over to `ready` in the supervising thread."""
        told = time.monotonic()
        while True:
            waiting = {}
            for child in list(self.supervisor.children.values()):
                program = child.program
                if program.listed and program.health:
                    health = probes.ask(program.health)
                    if not health.healthy:
                        waiting[program.name] = health.reason
            if not waiting:
                self.supervisor.request(self.ready)
                return
            if time.monotonic() - told > 10.0:
                told = time.monotonic()
                self.say("waiting for " + "; ".join(f"{n}: {why}" for n, why in waiting.items()))
            time.sleep(0.1)

    def ready(self) -> None:
        if self.stop_asked:
            return
        self.say(f"ready in {time.monotonic() - self.began:.1f} s: {self.plan.page}/")
        if self.canary and "canary" not in self.supervisor.children:
            self.supervisor.add(self.plan.canary())
        if self.demo:
            from yumai.access import Identity

            self.demo_token = Identity(self.state.identity).issue_token("bureau", "demo", days=3650)
            self.supervisor.add(self.plan.demo("pour", self.demo_token))
        else:
            self.introduce()

    def introduce(self) -> None:
        """The page and who may open it. Last, so that it stands below everything else."""
        tell(f"\nThe page: {self.plan.page}/")
        if self.demo:
            from yumai.access import Identity

            identity = Identity(self.state.identity)
            tell(
                "Demo identities (links that sign you in, good for 90 days; behind #token= is the token):"
            )
            for role in DEMO_ROLES:
                tell(f"  {role:<16} {self.plan.page}/#token={identity.issue_token(role)}")
        tell("Other identities: yumai token --role …, yumai keys issue --platform …")
        tell("A platform's Kafka user: yumai keys kafka --platform …")
        tell("How it is doing: yumai status. Ctrl-C stops everything.\n")

    # Talking

    def say(self, text: str) -> None:
        tell(f"{time.monotonic() - self.began:6.1f} s  {text}")

    def log(self, name: str) -> Path:
        return self.state.logs / f"{name}.log"

    def quote(self, name: str) -> None:
        try:
            with self.log(name).open("rb") as log:
                log.seek(max(self.log(name).stat().st_size - 2000, 0))
                lines = log.read().decode(errors="replace").split("\n")
        except OSError:
            return
        last = next((line for line in reversed(lines) if line.strip()), "")
        tell(f"          {last[:300]}")

    def write_up(self, stopped: bool = False) -> None:
        children = list(self.supervisor.children.values())
        if not (self.services_started or stopped):
            # Who waits until all are healthy must not take the two engines for all of it.
            children += [Child(program) for program in self.services()]
        started = {c.program.name: born(c.pid) for c in children if c.pid is not None}
        content = {
            "pid": None if stopped else os.getpid(),
            "stopped": stopped,
            "port_base": self.plan.base,
            "bootstrap": self.plan.bootstrap,
            "secure": self.plan.tls,
            "dsn": self.plan.dsn,
            "page": f"{self.plan.page}/",
            "processes": [
                {
                    "name": c.program.name,
                    "pid": c.pid,
                    "born": started.get(c.program.name),
                    "url": c.program.url,
                    "health": c.program.health,
                    "restarts": c.restarts,
                    "starts": c.starts,
                    **({"data_dir": str(c.program.data_dir)} if c.program.data_dir else {}),
                }
                for c in children
                if c.program.listed and (c.wanted or stopped)
            ],
            "children": [
                {"name": c.program.name, "pid": c.pid, "born": started.get(c.program.name)}
                for c in children
                if c.pid is not None
            ],
        }
        # A full disk must not take everything down; `status` then shows what was last known.
        try:
            self.state.write_up(content)
            self.unwritten = False
        except OSError:
            self.unwritten = True

    # Scaling

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """In the control thread. Waits until what was asked for is so."""
        if request.get("command") != "scale":
            return {"error": f"no such command: {request.get('command')}"}
        service, wanted = request["service"], int(request["workers"])
        if service not in SCALABLE:
            return {"error": f"no service {service!r} that scales"}
        refused: list[str] = []
        self._in_supervisor(lambda: refused.extend(self.set_workers(service, wanted)))
        if refused:
            return {"error": "; ".join(refused)}
        deadline = time.monotonic() + 60.0
        while not self.has_workers(service, wanted):
            if time.monotonic() > deadline:
                return {"error": f"{service} is not at {wanted} after 60 s: see {self.state.logs}"}
            time.sleep(0.05)
        return {"service": service, "running": [f"{service}-{n}" for n in range(1, wanted + 1)]}

    def _in_supervisor(self, action: Callable[[], None]) -> None:
        done = threading.Event()

        def act() -> None:
            action()
            done.set()

        self.supervisor.request(act)
        done.wait(30.0)

    def set_workers(self, service: str, wanted: int) -> list[str]:
        """Names stay: the workers 1 … N run. Returns why it can't be, with nothing changed."""
        children = self.supervisor.children
        if not self.services_started:
            self.workers[service] = wanted
            return []
        programs = [self.plan.worker(service, n) for n in range(1, wanted + 1)]
        new = [p for p in programs if p.name not in children]
        taken = [
            f"port {p.port}, wanted for {p.name}, is taken" for p in new if ports.taken(p.port or 0)
        ]
        if taken:
            return taken
        self.workers[service] = wanted
        for program in programs:
            if program.name not in children or not children[program.name].wanted:
                self.supervisor.add(program)
        for name in list(children):
            kind, _, number = name.rpartition("-")
            if kind == service and int(number) > wanted:
                self.supervisor.remove(name)
        return []

    def has_workers(self, service: str, wanted: int) -> bool:
        children = dict(self.supervisor.children)
        names = {name for name in children if name.rpartition("-")[0] == service}
        if names != {f"{service}-{n}" for n in range(1, wanted + 1)}:
            return False
        return all(
            children[name].process is not None
            and probes.get(f"{children[name].program.url}/health/live").healthy
            for name in names
        )


if __name__ == "__main__":
    from console.cli import main

    sys.exit(main(["up", *sys.argv[1:]]))
