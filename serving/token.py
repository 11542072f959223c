"""The bearer token that requests must carry."""

import hmac
from dataclasses import dataclass, field
from typing import Self

from serving.settings import Settings


@dataclass(frozen=True, slots=True)
class Token:
    """Compared in constant time; ``None`` lets everybody in."""

    secret: bytes | None = field(repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """``api_token``."""
        token = settings.api_token
        return cls(None if token is None else token.get_secret_value().encode())

    def admits(self, authorization: bytes) -> bool:
        """Whether this ``Authorization`` header is right."""
        if self.secret is None:
            return True
        scheme, _, given = authorization.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), self.secret)
