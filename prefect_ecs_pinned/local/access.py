"""Which requests are answered: only those that carry the access key, and none of a browser.

The embedded ECS executes commands, so a request that is answered here is a command that runs
as its user. `AccessControl` is in front of everything that is served (ECS, moto's services,
``/_local/``) and decides by a request's head alone; a refused body is never read. Refused are:

- any ``Origin``, any ``Sec-Fetch-Site`` other than ``none`` and any ``OPTIONS``: browsers send
  these (https://fetch.spec.whatwg.org/#origin-header, https://www.w3.org/TR/fetch-metadata/);
- any ``Host`` that is not an address of this server: DNS rebinding;
- any request without the access key. Its id is the secret, 128 random bits, and is compared in
  constant time; signatures are not computed. AWS's own header carries it
  (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html);
  ``/_local/`` takes ``Authorization: Bearer KEY`` as well. Presigned requests, older signatures
  and anonymous requests are refused, those to STS that AWS takes unsigned included.

A key and a suffix, ``KEY_NAME``, is the key of the IAM user ``NAME``: tests have several
principals that way. STS's AssumeRole hands out keys too; they need their session token.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from prefect_ecs_pinned.local.errors import AwsRefusal
from prefect_ecs_pinned.local.hosts import Hosts
from prefect_ecs_pinned.local.settings import ACCOUNT_ID, DEFAULT_REGION, ROOT
from prefect_ecs_pinned.local.wire import Receive, Scope, Send, send_refusal

#: Random bytes of an access key that is not given: 128 bits.
_KEY_BYTES = 16

#: Below so many characters a given key is taken to be shorter than 128 bits of letters and digits.
STRONG_CHARACTERS = 22

#: Where numbers and switches for tests are served.
LOCAL_PREFIX = "/_local/"

_KEY = re.compile(r"[A-Za-z0-9_.@+-]{1,128}")
_USER = re.compile(r"_([A-Za-z0-9_.@+-]{1,64})")
_SIGV4 = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=(?P<key>[^/,\s]+)/\d{8}/(?P<region>[A-Za-z0-9-]+)"
    r"/(?P<service>[A-Za-z0-9-]+)/aws4_request *, *SignedHeaders=[^,\s]+ *, *Signature=[^,\s]+"
)
_BEARER = re.compile(r"Bearer +(?P<key>[^\s]+)")

App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True)
class Caller:
    """Who sent a request, and the scope of its credential.

    Attributes:
        arn: Of the principal, as GetCallerIdentity answers it.
        region: Region of the credential scope.
        service: Service of the credential scope; empty for a bearer.
    """

    arn: str
    region: str = DEFAULT_REGION
    service: str = ""

    @property
    def user_id(self) -> str:
        """GetCallerIdentity's ``UserId``; stable for a principal."""
        return ACCOUNT_ID if self.arn == ROOT else f"AIDA{self.arn.rsplit('/', 1)[-1].upper()}"


class Sessions(Protocol):
    """Temporary credentials that STS has handed out."""

    def assumed_role(self, key: str, token: str) -> str | None:
        """ARN of the session of a temporary access key; None when there is no such pair.

        Raises:
            AwsRefusal: The session has expired.
        """


def new_access_key() -> str:
    """An access key that cannot be guessed."""
    return f"LOCAL{secrets.token_hex(_KEY_BYTES).upper()}"


def check_access_key(key: str) -> str:
    """A given access key, if it can be in an Authorization header.

    Raises:
        ValueError: It cannot.
    """
    if not _KEY.fullmatch(key):
        raise ValueError("an access key has 1 to 128 letters, digits and characters of _.@+-")
    return key


class AccessControl:
    """An ASGI application in front of another, which is called with authorised requests only.

    The scope of such a request has its `Caller` as ``scope["caller"]``.

    Args:
        app: What is protected.
        access_key: The key that requests have to carry.
        hosts: The addresses by which this server may be called.
        sessions: Checks temporary credentials.
    """

    def __init__(self, app: App, access_key: str, hosts: Hosts, sessions: Sessions) -> None:
        self._app = app
        self._key = check_access_key(access_key).encode()
        self._hosts = hosts
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: let a request through, or answer it."""
        if scope["type"] != "http":  # a WebSocket, refused; there are no lifespan events
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        try:
            caller = self._authorise(scope)
        except AwsRefusal as refusal:
            is_json = scope["path"].startswith(LOCAL_PREFIX) or "x-amz-target" in _heads(scope)
            await send_refusal(send, refusal, is_json, close=True)
            return
        scope["caller"] = caller
        await self._app(scope, receive, send)

    def _authorise(self, scope: Scope) -> Caller:
        heads = _heads(scope)
        if "origin" in heads or any(site != "none" for site in heads.get("sec-fetch-site", ())):
            raise _denied("Requests from web pages are refused.")
        if scope["method"].upper() == "OPTIONS":
            raise _denied("OPTIONS is refused: no other origin may use this server.")
        self._check_target(scope, heads)
        given = heads.get("authorization", [])
        local = scope["path"].startswith(LOCAL_PREFIX)
        match = _SIGV4.fullmatch(given[0]) if len(given) == 1 else None
        if match is None and local and len(given) == 1:
            match = _BEARER.fullmatch(given[0])
        if match is None:
            raise AwsRefusal(
                *_code(heads, "MissingAuthenticationTokenException", "MissingAuthenticationToken"),
                403,
            )
        arn = self._principal(match["key"], heads)
        scoped = match.groupdict()
        return Caller(arn, scoped.get("region", DEFAULT_REGION), scoped.get("service", ""))

    def _check_target(self, scope: Scope, heads: Mapping[str, list[str]]) -> None:
        """One address, one length: what HTTP's parsers may differ on is not answered."""
        hosts = heads.get("host", [])
        # The absolute form (RFC 9112, 3.2.2) has a host of its own.
        origin_form = scope.get("raw_path", b"").startswith(b"/")
        if not origin_form or len(hosts) != 1 or not self._hosts.allow(hosts[0], scope["server"]):
            raise _denied(
                "The request's Host is not an address of this server. In a container, or behind a "
                "proxy: pinned-ecs local --allow-host NAME"
            )
        if "transfer-encoding" in heads and "content-length" in heads:
            raise _denied("A request has one length: not Content-Length and Transfer-Encoding.")

    def _principal(self, key: str, heads: Mapping[str, list[str]]) -> str:
        """ARN of an access key's principal."""
        given = key.encode()
        if hmac.compare_digest(given[: len(self._key)], self._key):
            rest = given[len(self._key) :].decode()
            if not rest:
                return ROOT
            if user := _USER.fullmatch(rest):
                return f"arn:aws:iam::{ACCOUNT_ID}:user/{user[1]}"
        tokens = heads.get("x-amz-security-token", [])
        arn = self._sessions.assumed_role(key, tokens[0]) if len(tokens) == 1 else None
        if arn is None:
            raise AwsRefusal(
                *_code(heads, "UnrecognizedClientException", "InvalidClientTokenId"), 403
            )
        return arn


def _heads(scope: Scope) -> dict[str, list[str]]:
    """The headers of a request: lower-case name -> values."""
    heads: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        heads.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").strip())
    return heads


def _denied(message: str) -> AwsRefusal:
    return AwsRefusal("AccessDeniedException", message, 403)


def _code(heads: Mapping[str, Any], json: str, query: str) -> tuple[str, str]:
    """AWS's code for a key that is not there or not known, by protocol; and what to do."""
    return (
        json if "x-amz-target" in heads else query,
        "The embedded ECS accepts only its own access key: use the exports that "
        "`pinned-ecs local` prints, or LocalECS.environment.",
    )


__all__ = [
    "LOCAL_PREFIX",
    "STRONG_CHARACTERS",
    "AccessControl",
    "Caller",
    "Sessions",
    "check_access_key",
    "new_access_key",
]
