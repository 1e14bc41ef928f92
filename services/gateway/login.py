"""Who may see what: default deny for everything under /v1, and the scope of each read.

The scope comes from the token and is applied on the server to cells, exports, stream and page.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from yumai.access import Identity, Principal
from yumai.http.refusals import Refused, response, spent
from yumai.sharing.asking import asks, name_of
from yumai.sharing.bodies import Bodies, Brake, TooMuch

STREAM_PATH = "/v1/stream"


class DefaultDeny:
    """ASGI middleware: under /v1 nothing is answered before the sender is known."""

    def __init__(self, app: ASGIApp, identity: Identity, bodies: Bodies, brake: Brake) -> None:
        self._app = app
        self._identity = identity
        self._bodies = bodies
        self._brake = brake

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or not (path == "/v1" or path.startswith("/v1/")):
            return await self._app(scope, receive, send)
        credential = authorization(scope)
        principal = self._identity.authenticate(credential)
        if principal is None:
            refusal = response(Refused("unauthorized", "authorization"))
            return await refusal(scope, receive, send)
        asks(principal)
        scope.setdefault("state", {})["principal"] = principal
        scope["state"]["credential"] = credential
        if path == STREAM_PATH:  # bounded by its own number
            return await self._app(scope, receive, send)
        try:
            with self._bodies.work(name_of(principal)) as work:
                scope["state"]["in_work"] = work
                return await self._app(scope, receive, send)
        except TooMuch as error:
            if error.own:
                await self._brake.hold(name_of(principal))
            return await response(spent(error))(scope, receive, send)


def authorization(scope: Scope) -> str | None:
    """The Authorization header; on the stream also `?token=`, since EventSource sets no header."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            return value.decode("latin-1")
    if scope["path"] == STREAM_PATH:
        token = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        if token:
            return f"Bearer {token[0]}"
    return None


def principal_of(request: Request) -> Principal:
    return request.state.principal


def check_still_known(request: Request) -> None:
    """Raises Refused where the key or token was taken back, or has run out, since the request began."""
    identity: Identity = request.app.state.identity
    if identity.authenticate(request.state.credential) != principal_of(request):
        raise Refused("unauthorized", "authorization")


def districts_in_scope(
    principal: Principal, asked: Sequence[str] | None, field: str = "district"
) -> Sequence[str] | None:
    """The districts to read: its own for a district. Raises Refused for another's."""
    if principal.role != "district":
        return asked
    _own_only(asked, principal.code, field)
    return [principal.code]


def platforms_in_scope(
    principal: Principal, asked: Sequence[str] | None, field: str = "platform"
) -> Sequence[str] | None:
    """The platforms to read: its own for a platform. Raises Refused for another's."""
    if principal.role != "platform":
        return asked
    _own_only(asked, principal.code, field)
    return [principal.code]


def _own_only(asked: Sequence[str] | None, own: str, field: str) -> None:
    if asked is not None and any(code != own for code in asked):
        raise Refused("forbidden", field, f"{field} {', '.join(asked)}: not yours")
