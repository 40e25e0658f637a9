"""Refused keys, told as AWS's JSON services tell them; moto tells every service IAM's codes, in XML."""

import json
import re
from http import HTTPStatus
from typing import Final

from werkzeug.wrappers import Response

CODES: Final = {
    "InvalidClientTokenId": "UnrecognizedClientException",
    "SignatureDoesNotMatch": "InvalidSignatureException",
    "AccessDenied": "AccessDeniedException",
}
"""From IAM's codes to those of the page "Common errors" in a JSON service's API reference."""


def as_json(refusal: Response) -> Response:
    """The same refusal in a JSON service's words."""
    text = refusal.get_data(as_text=True)
    code = CODES.get(_element("Code", text), "MissingAuthenticationTokenException")
    body = json.dumps({"__type": code, "message": _element("Message", text)})
    return Response(body, HTTPStatus.BAD_REQUEST, content_type="application/x-amz-json-1.1")


def _element(name: str, text: str) -> str:
    match = re.search(f"<{name}>(.*?)</{name}>", text, re.DOTALL)
    return match.group(1) if match else ""
