"""The secrets of one stack: random, generated once, stored in its state directory."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from supa_llm.errors import LocalError
from supa_llm.local.extras import require
from supa_llm.local.files import write_private

_TEN_YEARS = 10 * 365 * 24 * 3600

# On projects that are not hosted, the checksum in an API key covers this text and the key.
_PROJECT_REF = "supabase-self-hosted"


@dataclass(frozen=True, repr=False)
class StackKeys:
    """Database passwords, API keys, signing keys and the runtime's secret. The repr hides them."""

    superuser_password: str
    postgres_password: str
    authenticator_password: str
    auth_admin_password: str
    jwt_secret: str
    publishable_key: str
    secret_key: str
    anon_key: str
    service_role_key: str
    runtime_secret: str
    ec_private_pem: str

    def jwks(self, *, private: bool) -> dict[str, Any]:
        """The keys that verify users' tokens: the public ES256 key and, with `private`, the HS256 secret."""
        algorithms = require("jwt.algorithms")
        serialization = require("cryptography.hazmat.primitives.serialization")
        public = serialization.load_pem_private_key(self.ec_private_pem.encode(), password=None).public_key()
        ec_key = dict(algorithms.ECAlgorithm.to_jwk(public, as_dict=True))
        ec_key |= {"alg": "ES256", "use": "sig", "key_ops": ["verify"], "kid": self.key_id()}
        keys = [ec_key]
        if private:
            secret = base64.urlsafe_b64encode(self.jwt_secret.encode()).rstrip(b"=").decode()
            keys.append({"kty": "oct", "alg": "HS256", "k": secret})
        return {"keys": keys}

    def key_id(self) -> str:
        """The `kid` of the ES256 key."""
        return hashlib.sha256(self.ec_private_pem.encode()).hexdigest()[:16]

    def sign(self, claims: dict[str, Any], algorithm: str) -> str:
        """Sign a token as the project's auth service does, with `HS256` (older projects) or `ES256`."""
        jwt = require("jwt")
        if algorithm == "ES256":
            return str(jwt.encode(claims, self.ec_private_pem, "ES256", headers={"kid": self.key_id()}))
        return str(jwt.encode(claims, self.jwt_secret, "HS256"))


def load_or_create(path: Path) -> StackKeys:
    """Read the secrets, or generate those of a new stack.

    Raises:
        LocalError: `local_state_broken` if the file exists but is invalid.
    """
    if not path.exists():
        keys = _generate()
        write_private(path, json.dumps(asdict(keys), indent=2))
        return keys
    return load(path)


def load(path: Path) -> StackKeys:
    """Read the secrets of an existing stack.

    Raises:
        LocalError: `local_state_broken`.
    """
    try:
        return StackKeys(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise LocalError(
            f"Cannot read the stack's secrets in {path}.",
            code="local_state_broken",
            hint="If another user created the stack, run the command as that user. "
            "Otherwise delete its directory, which deletes the stack's data.",
        ) from error


def _generate() -> StackKeys:
    ec = require("cryptography.hazmat.primitives.asymmetric.ec")
    serialization = require("cryptography.hazmat.primitives.serialization")
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    jwt_secret = secrets.token_urlsafe(40)
    return StackKeys(
        superuser_password=secrets.token_hex(24),
        postgres_password=secrets.token_hex(24),
        authenticator_password=secrets.token_hex(24),
        auth_admin_password=secrets.token_hex(24),
        jwt_secret=jwt_secret,
        publishable_key=_opaque_key("publishable"),
        secret_key=_opaque_key("secret"),
        anon_key=_legacy_key("anon", jwt_secret),
        service_role_key=_legacy_key("service_role", jwt_secret),
        runtime_secret="slr_" + secrets.token_urlsafe(32),
        ec_private_pem=pem.decode(),
    )


def _opaque_key(kind: str) -> str:
    body = f"sb_{kind}_{base64.urlsafe_b64encode(secrets.token_bytes(17)).decode()[:22]}"
    digest = hashlib.sha256(f"{_PROJECT_REF}|{body}".encode()).digest()
    return f"{body}_{base64.urlsafe_b64encode(digest).decode()[:8]}"


def _legacy_key(role: str, jwt_secret: str) -> str:
    now = int(time.time())
    claims = {"iss": "supabase", "ref": "local", "role": role, "iat": now, "exp": now + _TEN_YEARS}
    return str(require("jwt").encode(claims, jwt_secret, "HS256"))
