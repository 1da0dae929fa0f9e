"""Writes docs/settings.md from the settings that `safelight/config.py` reads.

python -m tests.support.settings_page
"""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo

from safelight.config import Settings
from safelight.settings.fields import PREFIX, SettingsGroup

GROUPS = [group for group in Settings.__bases__ if issubclass(group, SettingsGroup)]
FILE = Path(__file__).parents[2] / "docs" / "settings.md"
HEAD = """# Settings

All settings are environment variables. `safelight/config.py` is the only reader of the environment; this page is written from it by `python -m tests.support.settings_page`, and a test
fails when the page is stale. The registry of providers and the prompts are versioned rows, and what operators change while everything runs is set by `/admin/config/runtime`
([operating](operating.md)): neither is a setting.

**Required in production** marks what a public deployment sets; of the providers' keys, those of the providers it uses. "Read by" names the processes that need the variable: the API,
the workers, or both. The commands of the command line read the same variables.

A wrong value ends a command at once, with exit code 2 and one line that names the setting and what is allowed. Values of secrets and passwords are never printed. Quotation marks
belong to a shell: `docker --env-file` keeps them as part of the value, so they are refused. A variable that begins with `SAFELIGHT_` and is no setting is logged as a warning, with the
most similar name. An old name of a renamed setting still works and is logged as deprecated; if both names are set, the new one is used.

`SAFELIGHT_DATABASE_URL` is a `postgresql://` URL (or `key=value` pairs) as PostgreSQL's own tools read it: without a driver (`postgresql+asyncpg://`), without parameters of
other libraries (`?pgbouncer=true`, `?schema=…`), and with `@`, `/`, `#`, `?` and `%` in the password percent-encoded. An empty value is refused; it does not mean the embedded
database. A connection pooler in session mode works; one in transaction mode is refused (Supabase: port 5432, not 6543).
"""
TABLE = """
| name | type | default | read by | description |
|---|---|---|---|---|
"""


def page() -> str:
    return HEAD + "".join(_section(group) for group in GROUPS) + _renamed()


def _section(group: type[SettingsGroup]) -> str:
    rows = [_row(name, field) for name, field in group.model_fields.items()]
    title = {
        "Http": "HTTP",
        "SignInSettings": "Sign-in",
        "ProviderSettings": "Providers",
        "RateLimits": "Rate limits",
    }.get(group.__name__, group.__name__)
    return f"\n## {title}\n\n{group.__doc__}\n{TABLE}{''.join(rows)}"


def _row(name: str, field: FieldInfo) -> str:
    about = field.json_schema_extra
    assert isinstance(about, dict)
    assert field.description, f"say below {name} what it is for"
    text = " ".join(field.description.replace("|", "\\|").split())
    text = ("**Required in production.** " if about["production"] else "") + text
    cells = [f"`{PREFIX}{name.upper()}`", _type(field.annotation), _default(field.default), about["read_by"], text]
    return "| " + " | ".join(map(str, cells)) + " |\n"


def _type(annotation: Any) -> str:
    if annotation is SecretStr:
        return "secret"
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if get_args(annotation):
        return _type(next(each for each in get_args(annotation) if each is not type(None)))
    return {"str": "text", "Path": "path", "bool": "true or false", "int": "integer", "float": "number"}[
        annotation.__name__
    ]


def _default(value: Any) -> str:
    return "" if value is None or value == "" or isinstance(value, SecretStr) else f"`{value}`"


def _renamed() -> str:
    rows = [
        f"| `{old}` | `{new}` |\n"
        for group in GROUPS
        for field in group.model_fields.values()
        if isinstance(field.validation_alias, AliasChoices)
        for new, *others in [field.validation_alias.choices]
        for old in others
        if str(old).startswith(PREFIX)
    ]
    return "\n## Old names\n\n| old name | new name |\n|---|---|\n" + "".join(rows)


if __name__ == "__main__":
    FILE.write_text(page())
