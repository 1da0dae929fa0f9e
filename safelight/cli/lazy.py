"""Commands whose modules are imported when they are called: `--help` and short commands load nothing of the others."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

PACKAGE = "safelight.cli"


@dataclass(frozen=True, slots=True)
class Entry:
    """A command: the module whose `commands` has it under the same name, and the first sentence of its help."""

    module: str
    summary: str


@dataclass(frozen=True, slots=True)
class Group:
    summary: str
    entries: Mapping[str, Entry]


class LazyCommand(TyperCommand):
    """Stands for a command of which only the `Entry` is known until it is called."""

    def __init__(self, name: str, entry: Entry) -> None:
        super().__init__(name, help=entry.summary, rich_markup_mode=None)
        self._name, self._module = name, entry.module

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


class LazyGroup(TyperGroup):
    """Has the commands that `entries` describe."""

    def __init__(self, *, entries: Mapping[str, Entry | Group], commands: Any = None, **attributes: Any) -> None:
        super().__init__(commands={name: _made(name, entry) for name, entry in entries.items()}, **attributes)


def _made(name: str, entry: Entry | Group) -> Any:
    if isinstance(entry, Entry):
        return LazyCommand(name, entry)
    return LazyGroup(name=name, entries=entry.entries, help=entry.summary, no_args_is_help=True, rich_markup_mode=None)
