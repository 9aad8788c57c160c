"""Getting the first token of a Viessmann account: OAuth 2 with PKCE (RFC 7636), by a browser or by user and password."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

from ohmstead.errors import WrongAnswer

API_URL = "https://api.viessmann-climatesolutions.com/iot/v2"
AUTHORISE_URL = "https://iam.viessmann-climatesolutions.com/idp/v3/authorize"
TOKEN_URL = "https://iam.viessmann-climatesolutions.com/idp/v3/token"  # noqa: S105 - an address
"""As in PyViCare 2.63.0 (PyViCareAbstractOAuthManager)."""

BROWSER_REDIRECT = "http://localhost:4200/"
PASSWORD_REDIRECT = "vicare://oauth-callback/everest"  # noqa: S105 - an address
"""Where a browser is sent, and what stands for it where there is none; the account's client has to know the one that is used."""

SCOPE = "IoT User offline_access"


class Endpoints(NamedTuple):
    """Where the cloud is. Others than Viessmann's own are for a simulated one (`ohmstead simulate vicare`)."""

    api: str = API_URL
    authorise: str = AUTHORISE_URL
    token: str = TOKEN_URL

    @classmethod
    def of(cls, url: str | None) -> Endpoints:
        """Those of a cloud at `url` with the usual paths; None: Viessmann's own."""
        if url is None:
            return cls()
        base = url.rstrip("/")
        return cls(base + "/iot/v2", base + "/idp/v3/authorize", base + "/idp/v3/token")


class Flow(NamedTuple):
    """One attempt to log in. `state` and `verifier` are drawn for it and are nobody else's."""

    client_id: str
    redirect: str
    state: str
    verifier: str

    @classmethod
    def begin(cls, client_id: str, redirect: str = BROWSER_REDIRECT) -> Flow:
        return cls(client_id, redirect, secrets.token_urlsafe(24), secrets.token_urlsafe(48))

    def address(self, endpoints: Endpoints) -> str:
        """Where the account's owner says yes."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect,
            "scope": SCOPE,
            "state": self.state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{endpoints.authorise}?{urlencode(asked)}"

    def code(self, sent_to: str) -> str:
        """The code in the address that the browser was sent to. Raises WrongAnswer, with what the cloud says."""
        try:
            said = parse_qs(urlsplit(sent_to.strip()).query)
        except ValueError:
            said = {}
        if "error" in said:
            raise WrongAnswer(f"Viessmann says: {said.get('error_description', said['error'])[0][:200]}")
        if "code" not in said:
            raise WrongAnswer("there is no code in this address; it has to be the whole one to which the browser was sent at the end")
        if said.get("state", [""])[0] != self.state:
            raise WrongAnswer("this is the answer to another attempt; begin again")
        return said["code"][0]

    def for_code(self, code: str) -> dict[str, str]:
        """What the token endpoint is sent."""
        return {
            "grant_type": "authorization_code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect,
            "code": code,
            "code_verifier": self.verifier,
        }


def for_refresh(client_id: str, refresh: str) -> dict[str, str]:
    """What the token endpoint is sent for the next token."""
    return {"grant_type": "refresh_token", "client_id": client_id, "refresh_token": refresh}
