"""The pass ids of anonymous visitors that this deployment issued. They look like any other random uuid; a server with
the deployment's secret recognises its own, so that an id which a client made up earns nothing."""

import hmac
import secrets
import uuid

from safelight.domain import pass_ids
from safelight.security.signing import Signer

RANDOM_BYTES = 10  # of a uuid's 16; the others are their keyed hash
PURPOSE = "anonymous pass id"


def issue(signer: Signer) -> str:
    """A new visitor's pass id."""
    return pass_ids.anonymous(_signed(signer, secrets.token_bytes(16)))


def is_issued(signer: Signer, pass_id: str) -> bool:
    """Return true if a deployment with this secret issued the id."""
    found = pass_ids.anonymous_uuid(pass_id)
    return found is not None and hmac.compare_digest(_signed(signer, found.bytes).bytes, found.bytes)


def _signed(signer: Signer, content: bytes) -> uuid.UUID:
    """The random part, with a version's fixed bits in it, and then its keyed hash."""
    head = uuid.UUID(bytes=content, version=4).bytes[:RANDOM_BYTES]
    tail = bytes.fromhex(signer.keyed_hash(PURPOSE, head.hex()))[: 16 - RANDOM_BYTES]
    return uuid.UUID(bytes=head + tail)
