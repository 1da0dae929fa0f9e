"""Rules for foreign URLs and addresses that may be fetched: plain http and https, on the public internet."""

import ipaddress
import re
from urllib.parse import quote, urlsplit, urlunsplit

from safelight.domain.errors.base import RemoteUrlInvalid

URL_CHARS_MAX = 2048  # of a URL that a client states
FETCHED_URL_CHARS_MAX = 16_384  # of a URL that is fetched: signed ones of vendors and redirects are longer
UPLOAD_ADVICE = "Upload the file (POST /api/r2/upload-signed, as dataUrl) and state the URL of the answer."
PORTS = frozenset({80, 443, 8080, 8443})
PORT_OF = {"http": 80, "https": 443}

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Registered as global, but not reachable on the internet.
_SPECIAL = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments; a cloud's metadata
        "192.88.99.0/24",  # the nearest 6to4 relay
        "168.63.129.16/32",  # a cloud's own services, from within it
        "2001::/23",  # protocol assignments, Teredo among them
        "3fff::/20",  # documentation
        "2620:4f:8000::/48",  # the nearest AS112 server
    )
)
_TRIMMED = "".join(map(chr, range(0x21)))  # by browsers, at both ends
_LEFT_OUT = re.compile(r"[\t\r\n]")  # by browsers, anywhere
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
_FORBIDDEN_IN_HOST = re.compile(r"[@%\s]")
_IS_PLAIN = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*")
_TUNNEL_TO_IPV4 = re.compile(r"^(?:0000|0200)5efe")  # ISATAP: how the lower half of an address begins


def is_public(address: str) -> bool:
    """False for loopback, private, link-local, CGNAT, multicast and reserved ranges, also inside an IPv6 address."""
    parsed = ipaddress.ip_address(address.split("%", 1)[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = _embedded(parsed)
        if inner is not None:
            return is_public(str(inner))
        if parsed not in _GLOBAL_UNICAST:
            return False
    special = any(parsed in network for network in _SPECIAL if network.version == parsed.version)
    return parsed.is_global and not parsed.is_multicast and not special


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that is embedded in this IPv6 address, and to which its packets are sent."""
    if address in _NAT64 or _TUNNEL_TO_IPV4.match(address.exploded.replace(":", "")[16:]):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def plain_url(url: str, *, chars_max: int = URL_CHARS_MAX) -> str:
    """The URL in ASCII, corrected as browsers do: without surrounding white space, tabs and newlines, and with
    percent-encoding in path and query where it is needed. Raises RemoteUrlInvalid if it is not a plain http or https
    URL."""
    url = _LEFT_OUT.sub("", url.strip(_TRIMMED))
    if len(url) > chars_max or url[:5].lower() == "data:":
        raise RemoteUrlInvalid(too_long(url, chars_max))
    if _FORBIDDEN.search(url):
        raise _invalid()
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if parts.scheme not in PORT_OF or not host or _FORBIDDEN_IN_HOST.search(parts.netloc) or port == 0:
            raise _invalid()
        plain_host = f"[{host}]" if ":" in host else host.encode("idna").decode("ascii")
    except ValueError as error:
        raise _invalid() from error
    return urlunsplit(
        (parts.scheme, plain_host + (f":{port}" if port else ""), _ascii(parts.path), _ascii(parts.query), "")
    )


def mended_url(url: str) -> str:
    """The URL itself if browsers would not correct it, else as `plain_url`. Raises RemoteUrlInvalid."""
    plain = plain_url(url)
    return url if _IS_PLAIN.fullmatch(url) else plain


def too_long(url: str, chars_max: int = URL_CHARS_MAX) -> str:
    """The message for a URL that has too many characters, or is a data URL."""
    if url[:5].lower() == "data:":
        return f"A URL must begin with http:// or https://, and this is a data URI. {UPLOAD_ADVICE}"
    return f"A URL may have at most {chars_max} characters, and this one has {len(url)}. {UPLOAD_ADVICE}"


def _ascii(text: str) -> str:
    return quote(text, safe="%/:?#[]@!$&'()*+,;=~")


def _invalid() -> RemoteUrlInvalid:
    return RemoteUrlInvalid(
        "A URL must begin with http:// or https://, name a host, hold no password"
        f" and have at most {URL_CHARS_MAX} characters."
    )
