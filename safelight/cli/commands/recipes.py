"""The SQL recipes, which come with every installation."""

from pathlib import Path
from typing import Annotated

import typer

from safelight.cli import output
from safelight.cli.shared import AsJson, command_list
from safelight.domain.errors.base import NotFound

_PACKAGED = Path(__file__).parents[2] / "recipes"
_CHECKOUT = Path(__file__).parents[3] / "docs" / "recipes"
FOLDER = _PACKAGED if _PACKAGED.exists() else _CHECKOUT

commands = command_list()

Name = Annotated[str | None, typer.Argument(help="Print this recipe's SQL; without a name, list the recipes.")]


@commands.command("recipes")
def recipes(name: Name = None, as_json: AsJson = False) -> None:
    """List the SQL recipes, or print one, to be piped into psql."""
    found = {file.stem: file.read_text() for file in sorted(FOLDER.glob("*.sql"))}
    if name is None:
        _list(found, as_json=as_json)
        return
    stem = name.removesuffix(".sql")
    if stem not in found:
        raise NotFound(f"There is no recipe {name!r}; there are: {', '.join(found)}.")
    if as_json:
        output.print_json({"recipe": stem, "sql": found[stem]})
    else:
        typer.echo(found[stem], nl=False)


def _list(found: dict[str, str], *, as_json: bool) -> None:
    rows = [{"recipe": stem, "question": _question(text)} for stem, text in found.items()]
    if as_json:
        output.print_json(rows)
    else:
        output.show_recipes(rows)


def _question(text: str) -> str:
    """The sentence above the statement."""
    return text.partition("\n")[0].removeprefix("-- ").partition(" psql ")[0]
