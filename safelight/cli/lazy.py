"""Commands whose modules are imported when they are called: `--help` and short commands load nothing of the others."""

import ast
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

PACKAGE = "safelight.cli"


@dataclass(frozen=True, slots=True)
class Group:
    """`modules` holds the module of each command of the group by the command's name."""

    summary: str
    modules: Mapping[str, str]


class LazyCommand(TyperCommand):
    """Stands for a command until it is called; the `commands` of its module have it under the same name."""

    def __init__(self, name: str, module: str) -> None:
        super().__init__(name, rich_markup_mode=None)
        self._name, self._module = name, module

    def load(self) -> Any:
        """The command itself; it raises errors that `main` can print."""
        module = importlib.import_module(f"{PACKAGE}.commands.{self._module}")
        translated = importlib.import_module(f"{PACKAGE}.errors").translated
        command = get_group(module.commands).commands[self._name]
        command.callback = translated()(command.callback)
        return command

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """That of the command itself: its caller invokes the command which the context names."""
        return self.load().make_context(info_name, args, parent, **extra)

    def get_short_help_str(self, limit: int = 45) -> str:
        """The beginning of the command's docstring, read from its module's text: nothing is imported for it."""
        text = (Path(__file__).parent / "commands" / f"{self._module}.py").read_text(encoding="utf-8")
        decorator = f"commands.command({self._name!r})"
        [described] = [
            node
            for node in ast.parse(text).body
            if isinstance(node, ast.FunctionDef) and decorator in map(ast.unparse, node.decorator_list)
        ]
        self.help = ast.get_docstring(described)
        return super().get_short_help_str(limit)


class LazyGroup(TyperGroup):
    """Has the commands that `entries` describe."""

    def __init__(self, *, entries: Mapping[str, str | Group], commands: Any = None, **attributes: Any) -> None:
        super().__init__(commands={name: _made(name, entry) for name, entry in entries.items()}, **attributes)


def _made(name: str, entry: str | Group) -> Any:
    if isinstance(entry, str):
        return LazyCommand(name, entry)
    return LazyGroup(name=name, entries=entry.modules, help=entry.summary, no_args_is_help=True, rich_markup_mode=None)
