"""A Supabase project in containers, with the images and the wiring of `supabase start`.

It runs only the services that supa-llm needs: PostgreSQL, Auth, PostgREST and the gateway in front of them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import psycopg
from docker.errors import APIError, DockerException  # type: ignore[import-untyped]
from jwt.algorithms import ECAlgorithm
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.network import Network

from supa_llm.local import migrate
from supa_llm.local.config import ProjectConfig, read_config
from supa_llm.local.files import locked
from supa_llm.local.install import cache_directory, install
from supa_llm.local.layout import layout_for
from supa_llm.local.stack_keys import StackKeys, load_or_create

#: Service → its image in version 3.1 of the Supabase CLI. SUPA_LLM_<SERVICE>_IMAGE overrides it.
IMAGES = {
    "postgres": "supabase/postgres:17.11.0.018",
    "auth": "supabase/gotrue:v2.197.0",
    "rest": "postgrest/postgrest:v16.5",
    "gateway": "kong:2.8.1",
}

_READY_SECONDS = 180

# The PostgreSQL image runs this file at the end of its first start, with POSTGRES_PASSWORD in PGPASSWORD.
# Until then, the services' roles have no passwords.
_PASSWORDS = r"""
\set password `echo "$PGPASSWORD"`
alter user postgres with password :'password';
alter user authenticator with password :'password';
alter user supabase_auth_admin with password :'password';
"""

# The Authorization header that `supabase start` configures in Kong. Kong refuses nothing: it exchanges an API
# key for a token and passes on anything else for the service to check.
_BEARER = (
    "$((headers.authorization ~= nil and headers.authorization:sub(1, 10) ~= 'Bearer sb_'"
    " and headers.authorization)"
    " or (headers.apikey == '{secret_key}' and 'Bearer {service_role_key}')"
    " or (headers.apikey == '{publishable_key}' and 'Bearer {anon_key}')"
    " or headers.apikey)"
)


class ContainersError(Exception):
    """The containers could not be started. The message states the cause and the fix."""


@contextmanager
def running_containers(project: Path, directory: Path) -> Iterator[dict[str, str]]:
    """Run the project in containers with its migrations and seed, and remove them at the end.

    Yields the variables that `supabase status -o env` prints. `directory` is scratch space.

    Raises:
        ContainersError: no Docker, no image, or a service that does not start.
        LocalError: the Supabase CLI cannot be installed, or a migration fails.
    """
    _require_docker()
    config = read_config(project)
    layout = layout_for(directory, "containers")
    runtime = install(cache_directory(layout.user), print)
    keys = load_or_create(directory / "secrets.json")
    with ExitStack() as cleanup:
        # Published on the loopback interface only: the stack is for the tests on this machine.
        options = {"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"}
        network = cleanup.enter_context(Network(docker_network_kw={"options": options}))

        started: dict[str, DockerContainer] = {}

        def start(service: str, container: DockerContainer) -> None:
            container.with_network(network).with_network_aliases(service)
            # Registered before the start, so that a container that fails to start is removed too.
            cleanup.callback(container.stop)
            _start(service, container)
            started[service] = container

        start("postgres", _postgres(keys))
        # The gateway is second, because the auth service needs its own public URL.
        start("gateway", _gateway(keys))
        api_url = f"http://127.0.0.1:{_port(started, 'gateway', 8000)}"
        db_port = _port(started, "postgres", 5432)
        db_url = f"postgresql://postgres:{keys.postgres_password}@127.0.0.1:{db_port}/postgres"
        _wait(started, "postgres", lambda: _connects(db_url))

        start("auth", _auth(keys, config, api_url))
        _wait(started, "auth", lambda: _answers(f"{api_url}/auth/v1/health", keys))
        # After the auth service has created its tables, and before PostgREST reads the schema.
        with locked(layout.lock, seconds=1, progress=print) as lock:
            migrate.push(layout, runtime, project, db_port=db_port, keys=keys, seed=config.seed, lock=lock)
        start("rest", _rest(keys, config))
        _wait(started, "rest", lambda: _answers(f"{api_url}/rest/v1/rpc/-", keys))

        yield {
            "API_URL": api_url,
            "DB_URL": db_url,
            "PUBLISHABLE_KEY": keys.publishable_key,
            "SECRET_KEY": keys.secret_key,
            "ANON_KEY": keys.anon_key,
            "SERVICE_ROLE_KEY": keys.service_role_key,
            "JWT_SECRET": keys.jwt_secret,
        }


def _postgres(keys: StackKeys) -> DockerContainer:
    return (
        DockerContainer(_image("postgres"))
        .with_exposed_ports(5432)
        .with_envs(POSTGRES_PASSWORD=keys.postgres_password, JWT_SECRET=keys.jwt_secret, JWT_EXP="3600")
        .with_copy_into_container(_PASSWORDS.encode(), "/etc/postgresql.schema.sql")
    )


def _auth(keys: StackKeys, config: ProjectConfig, api_url: str) -> DockerContainer:
    settings = config.auth
    email = settings["email"]
    signing_key = {
        **ECAlgorithm.to_jwk(ECAlgorithm(ECAlgorithm.SHA256).prepare_key(keys.ec_private_pem), as_dict=True),
        **{"kid": keys.key_id(), "alg": "ES256", "use": "sig", "key_ops": ["sign", "verify"]},
    }
    return DockerContainer(_image("auth")).with_envs(
        API_EXTERNAL_URL=f"{api_url}/auth/v1",
        GOTRUE_API_HOST="0.0.0.0",
        GOTRUE_API_PORT="9999",
        GOTRUE_DB_DRIVER="postgres",
        GOTRUE_DB_DATABASE_URL=_database_url("supabase_auth_admin", keys),
        GOTRUE_SITE_URL=settings.get("site_url", api_url),
        GOTRUE_DISABLE_SIGNUP=_flag(not settings.get("enable_signup", True)),
        GOTRUE_EXTERNAL_EMAIL_ENABLED=_flag(email.get("enable_signup", True)),
        # There is no mail server, so email confirmation must stay off, as in supabase/config.toml.
        GOTRUE_MAILER_AUTOCONFIRM=_flag(not email.get("enable_confirmations", False)),
        GOTRUE_JWT_ISSUER=f"{api_url}/auth/v1",
        GOTRUE_JWT_AUD="authenticated",
        GOTRUE_JWT_DEFAULT_GROUP_NAME="authenticated",
        GOTRUE_JWT_ADMIN_ROLES="service_role",
        GOTRUE_JWT_EXP=str(settings.get("jwt_expiry", 3600)),
        GOTRUE_JWT_SECRET=keys.jwt_secret,
        # Users' tokens are ES256, as in new projects; the API keys' are HS256.
        GOTRUE_JWT_KEYS=json.dumps([signing_key]),
        GOTRUE_JWT_VALIDMETHODS="HS256,RS256,ES256",
        GOTRUE_JWT_VALID_METHODS="HS256,RS256,ES256",
    )


def _rest(keys: StackKeys, config: ProjectConfig) -> DockerContainer:
    return DockerContainer(_image("rest")).with_envs(
        PGRST_DB_URI=_database_url("authenticator", keys),
        PGRST_DB_SCHEMAS=",".join(config.schemas),
        PGRST_DB_EXTRA_SEARCH_PATH=",".join(config.extra_search_path),
        PGRST_DB_MAX_ROWS=str(config.max_rows),
        PGRST_DB_ANON_ROLE="anon",
        PGRST_JWT_SECRET=json.dumps(keys.jwks(private=True)),
    )


def _gateway(keys: StackKeys) -> DockerContainer:
    return (
        DockerContainer(_image("gateway"))
        .with_exposed_ports(8000)
        .with_envs(
            KONG_DATABASE="off",
            KONG_DECLARATIVE_CONFIG="/home/kong/kong.json",
            KONG_PLUGINS="request-transformer,cors",
            KONG_NGINX_WORKER_PROCESSES="1",
            # The gateway starts before the services, so it must retry names that do not resolve yet.
            KONG_DNS_ORDER="LAST,A,CNAME",
            KONG_DNS_NOT_FOUND_TTL="1",
            KONG_DNS_VALID_TTL="5",
        )
        .with_copy_into_container(json.dumps(_gateway_config(keys)).encode(), "/home/kong/kong.json")
    )


def _gateway_config(keys: StackKeys) -> dict[str, Any]:
    authorization = {"headers": [f"Authorization: {_BEARER.format_map(asdict(keys))}"]}
    transform = {"add": authorization, "replace": authorization}
    return {
        "_format_version": "1.1",
        "services": [
            {
                "name": name,
                "url": url,
                "routes": [{"name": f"{name}-all", "strip_path": True, "paths": [path]}],
                "plugins": [{"name": "cors"}, {"name": "request-transformer", "config": transform}],
            }
            for name, path, url in (
                ("auth-v1", "/auth/v1/", "http://auth:9999/"),
                ("rest-v1", "/rest/v1/", "http://rest:3000/"),
            )
        ],
    }


def _require_docker() -> None:
    try:
        DockerClient().client.ping()
    except DockerException as error:
        raise ContainersError(
            "No Docker daemon is reachable. Start one, or set DOCKER_HOST. "
            f"`make test` runs the same tests without Docker. ({error})"
        ) from error


def _start(service: str, container: DockerContainer) -> None:
    print(f"Starting {service}: {container.image}", flush=True)
    try:
        container.start()
    except APIError as error:
        raise ContainersError(
            f"{container.image} could not be started: {error.explanation or error}. "
            f"Set {_variable(service)} to use another image."
        ) from error


def _port(started: dict[str, DockerContainer], service: str, port: int) -> int:
    """Return the port on this machine that maps to a port of the service."""
    try:
        return started[service].get_exposed_port(port)
    except OSError:
        raise _failed(started, service) from None


def _wait(started: dict[str, DockerContainer], service: str, ready: Callable[[], bool]) -> None:
    """Wait until a service is ready. Fail if a container that was started has stopped."""
    deadline = time.monotonic() + _READY_SECONDS
    while not ready():
        for name, container in started.items():
            container.reload()
            if container.status != "running":
                raise _failed(started, name)
        if time.monotonic() > deadline:
            raise _failed(started, service)
        time.sleep(0.3)


def _failed(started: dict[str, DockerContainer], service: str) -> ContainersError:
    container = started[service]
    container.reload()
    log = container.get_wrapped_container().logs(tail=30).decode(errors="replace")
    return ContainersError(f"{service} is {container.status} and not ready. Its log ends:\n{log}")


def _connects(db_url: str) -> bool:
    # PostgreSQL accepts TCP connections only after its first start, when the roles have their passwords.
    with suppress(psycopg.OperationalError), psycopg.connect(db_url, connect_timeout=5):
        return True
    return False


def _answers(url: str, keys: StackKeys) -> bool:
    # The gateway returns 5xx until a service is up, and PostgREST does so until it has read the schema.
    with suppress(httpx.TransportError):
        return httpx.get(url, headers={"apikey": keys.publishable_key}, timeout=5).status_code < 500
    return False


def _database_url(role: str, keys: StackKeys) -> str:
    return f"postgresql://{role}:{keys.postgres_password}@postgres:5432/postgres"


def _image(service: str) -> str:
    return os.environ.get(_variable(service)) or IMAGES[service]


def _variable(service: str) -> str:
    return f"SUPA_LLM_{service.upper()}_IMAGE"


def _flag(value: bool) -> str:
    return "true" if value else "false"
