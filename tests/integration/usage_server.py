"""A server of an app, which tests end while it runs requests. Its arguments are in the environment."""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import supa_llm
import supabase

llm = supa_llm.SupaLLM(
    supabase.create_client(os.environ["API_URL"], os.environ["PUBLISHABLE_KEY"]),
    operator_keys={},
    usage_spool=os.environ.get("USAGE_SPOOL"),
)


def reply(request: Request) -> JSONResponse:
    token = request.headers["authorization"].removeprefix("Bearer ")
    answer = llm.for_user(token).chat("Hello")
    return JSONResponse({"request_id": str(answer.receipt.request_id), "process": os.getpid()})


app = Starlette(
    routes=[Route("/reply", reply, methods=["POST"])],
    lifespan=supa_llm.lifespan(llm),
)
