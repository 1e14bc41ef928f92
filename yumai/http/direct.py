"""Routes whose endpoint is asked directly: path, request and one model of parameters, and a Response comes back.

FastAPI still reads the signature and makes the document of it; its machinery of dependencies, which these
routes have none of, would cost a cheap answer a quarter of its time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from yumai.http.parameters import Asked, Listed

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Direct(APIRoute):
    def get_route_handler(self) -> Handler:
        said, endpoint = self.dependant, self.endpoint
        models = [(p.name, p.field_info.annotation) for p in said.query_params]
        others = (said.dependencies, said.header_params, said.cookie_params, said.body_params)
        if any(others) or len(models) > 1:
            return super().get_route_handler()
        path = [(p.name, p.alias) for p in said.path_params]
        named = said.request_param_name

        async def ask(request: Request) -> Response:
            values: dict[str, Any] = {name: request.path_params[alias] for name, alias in path}
            if named is not None:
                values[named] = request
            for name, model in models:
                values[name] = _read(model, request.query_params)
            answer: Response = await endpoint(**values)
            return answer

        return ask


def _read(model: Any, query: QueryParams) -> Asked:
    """Raises RequestValidationError. Of a parameter that is no list the last counts."""
    given: dict[str, Any] = dict(query)
    if given:
        for name, field in model.model_fields.items():
            if Listed in field.metadata and (field.alias or name) in given:
                given[field.alias or name] = query.getlist(field.alias or name)
    try:
        found: Asked = model.model_validate(given)
    except ValidationError as error:
        problems = [problem | {"loc": ("query", *problem["loc"])} for problem in error.errors()]
        raise RequestValidationError(problems) from None
    return found
