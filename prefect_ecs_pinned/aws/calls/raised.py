"""What botocore raises when there is no answer of AWS, and what of it may be shown."""

from __future__ import annotations

import re

from botocore import exceptions as botocore_exceptions
from botocore.parsers import ResponseParserError

from prefect_ecs_pinned.core.kinds import Kind

#: botocore exceptions that leave open whether AWS took the request. An answer that cannot be
#: read (cut short, or a proxy's page) is as good as none.
_LOST = (
    botocore_exceptions.HTTPClientError,
    botocore_exceptions.ResponseStreamingError,
    botocore_exceptions.IncompleteReadError,
    botocore_exceptions.ChecksumError,
    ResponseParserError,
)

#: botocore exceptions from before a request was sent, which go away by themselves: no name
#: server, no route, no connection; no answer of instance metadata.
_NOT_SENT = (
    botocore_exceptions.EndpointConnectionError,
    botocore_exceptions.ConnectTimeoutError,
    botocore_exceptions.ProxyConnectionError,
    botocore_exceptions.CredentialRetrievalError,
    botocore_exceptions.MetadataRetrievalError,
)

_NO_CREDENTIALS = (
    botocore_exceptions.NoCredentialsError,
    botocore_exceptions.RefreshWithMFAUnsupportedError,
    botocore_exceptions.SSOError,
    botocore_exceptions.TokenRetrievalError,
    getattr(botocore_exceptions, "LoginError", botocore_exceptions.SSOError),
)

#: "An HTTP Client raised an unhandled exception: Invalid header value b'...'": http.client quotes
#: the access key ID or the session token; a line break is in it.
_HEADER = "Invalid header value"

#: Longest text in characters that is kept of an answer that is not AWS's.
_MOST_TEXT = 120


def kind_of_exception(exception: BaseException) -> Kind:
    """What an exception means that is no answer: what counts is whether the request was sent."""
    if _is_of_header(exception):
        return Kind.EXPIRED
    if isinstance(exception, _LOST):
        return Kind.OUTCOME_UNKNOWN
    if isinstance(exception, _NOT_SENT):
        return Kind.UNREACHABLE
    if isinstance(exception, _NO_CREDENTIALS):
        return Kind.EXPIRED
    if isinstance(exception, botocore_exceptions.SSLError):
        # "SSL validation failed for https://... [SSL: CERTIFICATE_VERIFY_FAILED] certificate
        # verify failed: ..."; anything else may have happened while the answer was read.
        refused = "certificate verify failed" in str(exception).lower()
        return Kind.REFUSED if refused else Kind.OUTCOME_UNKNOWN
    if isinstance(exception, botocore_exceptions.BotoCoreError):
        return Kind.REFUSED  # of the configuration or the request, before anything was sent
    if "can't start new thread" in str(exception):
        return Kind.UNREACHABLE
    # botocore stumbles over an answer in no shape that AWS has.
    return Kind.OUTCOME_UNKNOWN


def _is_of_header(exception: BaseException) -> bool:
    return isinstance(exception, botocore_exceptions.HTTPClientError) and _HEADER in str(exception)


def presentable(exception: BaseException) -> BaseException:
    """An exception without values of the request or the answer, which may be secrets.

    botocore's own check of parameters quotes them: "Invalid type for parameter
    overrides.containerOverrides[0].environment[0].value, value: hunter2, type: ...". Its parsers
    quote whole answers, and http.client quotes headers, which hold credentials.
    """
    if _is_of_header(exception):
        why = "the access key ID or the session token contains a line break"
        return botocore_exceptions.HTTPClientError(error=why)
    if isinstance(exception, ResponseParserError):
        return ResponseParserError(str(exception).partition("\n")[0][:_MOST_TEXT])
    if not isinstance(exception, botocore_exceptions.ParamValidationError):
        return exception
    report = str(exception.kwargs.get("report", ""))
    before, quoted, after = report.partition(", value: ")
    # Values may hold anything, line breaks too: only what follows the last of them is kept.
    kind = re.search(r"(?s:.*)(, (?:type: <class|valid m).*)", after)
    hidden = before + (f", value: ***{kind[1] if kind else ''}" if quoted else "")
    return botocore_exceptions.ParamValidationError(report=hidden)


def without_markup(page: str) -> str:
    """The first words of a page that somebody else than AWS has answered with."""
    page = re.sub(r"(?s)<(script|style|head)\b.*?</\1>|<[^>]*>", " ", page)
    return " ".join(page.split())[:_MOST_TEXT] or "an answer that is not from AWS"
