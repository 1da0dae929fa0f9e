"""Checks of single settings. Each returns the value as the code uses it, or raises a ValueError whose message says what
is allowed. No message repeats a value that may hold a password."""

import difflib
import ipaddress
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NoReturn

from psycopg import ProgrammingError, pq
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator

from safelight.storage.web_urls import web_url

DATABASE_URL_EXAMPLE = "postgresql://user@host:5432/database"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
PATH_CHARS_MAX = 4096
QUOTES = "\"'`"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SCHEMES = ("postgresql", "postgres")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^:\[\]@]*)(?::(\d{1,5}))?")
_NAME = re.compile(r"[A-Za-z_.-]{1,40}")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ENCODED = {"@": "%40", "#": "%23", "/": "%2F", "?": "%3F", ":": "%3A", "[": "%5B", "]": "%5D"}
_PRISMA = {"pgbouncer", "connection_limit", "pool_timeout", "socket_timeout", "statement_cache_size", "schema"}


def database_url(stated: str) -> str:
    """A `postgresql://` URL or `key=value` pairs, checked so that PostgreSQL's client library reads them as
    intended."""
    url = stated.strip()
    if not url:
        raise ValueError(f"it is empty; set {DATABASE_URL_EXAMPLE}, or unset it to use the embedded database")
    if url[0] in QUOTES or (url[-1] in QUOTES and _SCHEME.match(url)):
        raise ValueError("it has quotation marks around it, which are no part of a URL; remove them")
    if url.lower().startswith("jdbc:"):
        raise ValueError(f"it is a JDBC URL; write {DATABASE_URL_EXAMPLE}")
    scheme = _SCHEME.match(url)
    if scheme:
        _check_scheme(scheme[1])
        _check_url(url[scheme.end() :])
    try:
        conninfo_to_dict(url)
    except ProgrammingError:  # its message may repeat the password
        raise ValueError(f"it is neither a URL such as {DATABASE_URL_EXAMPLE} nor key=value pairs") from None
    return url


def _check_scheme(scheme: str) -> None:
    if scheme in _SCHEMES:
        return
    name, _, driver = scheme.partition("+")
    if driver and name.lower() in _SCHEMES:
        raise ValueError(f"its scheme names a driver ({scheme}://), as SQLAlchemy's do; write postgresql://")
    raise ValueError(f"its scheme is {scheme}://; write {DATABASE_URL_EXAMPLE}")


def _check_url(rest: str) -> None:
    """`rest` is what follows the scheme. A character of the password that has a meaning in URLs is found by what it
    breaks: there are two of `@`, or no `@` before the first of `/`, `?` and `#`."""
    if found := re.search(r"[\s\x00-\x1f\x7f]", rest):
        raise ValueError(f"it holds white space or a control character; write %{ord(found[0]):02X} for it")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if authority.count("@") > 1:
        _refuse_unescaped("@")
    if "#" in rest:
        _refuse_unescaped("#")
    user, _, hosts = authority.rpartition("@")
    mark = rest[len(authority) : len(authority) + 1]
    path, _, query = rest[len(authority) :].partition("?")
    is_cut = ":" in authority and not _are_hosts(authority)
    if not user and mark and ("@" in path or ("@" in query and (is_cut or _unknown(query)))):
        _refuse_unescaped(mark)
    if _BAD_ESCAPE.search(rest):
        raise ValueError("a % in it is not followed by two hexadecimal digits; write %25 for a %")
    if not _are_hosts(hosts):
        raise ValueError(f"its host or port cannot be read; write {DATABASE_URL_EXAMPLE}")
    if unknown := _unknown(query):
        maker = "Prisma's" if _PRISMA.intersection(unknown) else "none of PostgreSQL's"
        raise ValueError(f"its parameters ({', '.join(unknown)}) are {maker}; remove them")


def _refuse_unescaped(character: str) -> NoReturn:
    raise ValueError(
        f"its user name or password holds {character!r} as it is; write {_ENCODED[character]} for it (percent-encoding)"
    )


def _are_hosts(text: str) -> bool:
    matches = [_HOST.fullmatch(host) for host in text.split(",")]
    return all(found and int(found[1] or 0) <= 65_535 for found in matches)


def _unknown(query: str) -> list[str]:
    """The names of parameters that PostgreSQL's client library does not know."""
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()} | {"ssl"}
    names = [part.partition("=")[0] for part in query.split("&") if part]
    return [name if _NAME.fullmatch(name) else "?" for name in names if name not in known]


def log_level(stated: str) -> str:
    level = stated.strip().upper()
    if level not in LOG_LEVELS:
        raise ValueError(f"{stated[:40]!r} is not one of {', '.join(LOG_LEVELS)}")
    return level


def path(stated: Path) -> Path:
    if str(stated) in ("", "."):
        raise ValueError("it is empty; name a path, or unset it to use the default")
    if len(str(stated)) > PATH_CHARS_MAX or "\x00" in str(stated):
        raise ValueError(f"a path has at most {PATH_CHARS_MAX} characters, and no NUL among them")
    return stated


def log_file(stated: Path) -> Path:
    file = path(stated).expanduser()
    if file.is_dir():
        raise ValueError(f"{file} is a folder; name a file")
    return file


def storage_url(stated: str) -> str:
    url = stated.strip()
    if not url:
        raise ValueError("it is empty; set file:///PATH or s3://BUCKET/PREFIX?endpoint=…, or unset it")
    return url


def host(stated: str) -> str:
    name = stated.strip()
    if not name or re.search(r"[\s/@]", name):
        raise ValueError("an IP address or the name of a host is needed, such as 127.0.0.1 or 0.0.0.0")
    return name


def nearest(name: str, known: Iterable[str], prefix: str) -> str:
    """The most similar known name, compared without the prefix; empty if none is similar."""
    names = {one.removeprefix(prefix): one for one in known}
    found = difflib.get_close_matches(name.removeprefix(prefix), names, n=1)
    return names[found[0]] if found else ""


def unquoted(stated: Any) -> Any:
    """The value without the quotation marks of a shell, which `docker --env-file` does not remove."""
    if isinstance(stated, str) and len(stated) > 1 and stated[0] == stated[-1] and stated[0] in QUOTES:
        raise ValueError("it has quotation marks around it, which become part of the value; remove them")
    return stated


def public_url(stated: str) -> str:
    if not stated:
        return stated
    url = web_url(stated.strip())
    if re.search(r"[?#]", url):
        raise ValueError("it must have neither a query nor a fragment: URLs of files are made by adding to it")
    return url


def networks(stated: str) -> str:
    """Addresses and networks in the form that the HTTP server reads."""
    proxies = listed(stated)
    if proxies == ["*"]:
        return "*"
    for proxy in proxies:
        try:
            ipaddress.ip_network(proxy)
        except ValueError as error:
            raise ValueError(
                f"{proxy!r} is neither an address, such as 10.0.0.1, nor a network, such as 10.0.0.0/8"
            ) from error
    return ",".join(proxies)


def cors_origins(stated: str) -> str:
    return _each(stated, r"\*|https?://[^\s/?#@]+|null", "an origin such as https://app.example.com, without a path")


def emails(stated: str) -> str:
    return _each(stated, r"[^\s@]+@[^\s@]+", "an e-mail address")


def host_ports(stated: str) -> str:
    return _each(stated, r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:/@]+):\d{1,5}", "a host and port such as 127.0.0.1:9000")


def _each(stated: str, pattern: str, wanted: str) -> str:
    for one in listed(stated):
        if not re.fullmatch(pattern, one):
            raise ValueError(f"{one[:80]!r} is not {wanted}; separate several by commas")
    return stated


def listed(stated: str) -> list[str]:
    """The parts of a setting that is a list with commas."""
    return [part.strip() for part in stated.split(",") if part.strip()]


DatabaseUrl = Annotated[str, AfterValidator(database_url)]
LogLevel = Annotated[str, AfterValidator(log_level)]
Folder = Annotated[Path, AfterValidator(path)]
LogFile = Annotated[Path, AfterValidator(log_file)]
StorageUrl = Annotated[str, AfterValidator(storage_url)]
Host = Annotated[str, AfterValidator(host)]
PublicUrl = Annotated[str, AfterValidator(public_url)]
Networks = Annotated[str, AfterValidator(networks)]
CorsOrigins = Annotated[str, AfterValidator(cors_origins)]
Emails = Annotated[str, AfterValidator(emails)]
HostPorts = Annotated[str, AfterValidator(host_ports)]
