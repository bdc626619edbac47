"""A lint for Python source, by the syntax tree and a list of blocked names."""

from __future__ import annotations

from typing import Iterable, List, Optional, Tuple, Union

from . import _judge, _parser
from ._judge import Issue
from .sandbox import BLOCKED_IMPORTS

__all__ = ["ImportValidator", "Issue"]


class ImportValidator:
    """Says which blocked names a source imports, calls or mentions.

    It needs no service: the source is parsed by a child process of the caller's
    own Python, which executes nothing of it, and judged by the rules of the
    service's validator. An entry of the list is a module ("socket"), a builtin
    ("eval") or something in a module ("os.system"); names are followed through
    imports and plain assignments.

    It is a lint. What it passes is as untrusted as what it refuses.
    """

    def __init__(self, blocked_imports: Optional[Iterable[str]] = None) -> None:
        self.blocked_imports: List[str] = []
        for name in BLOCKED_IMPORTS if blocked_imports is None else blocked_imports:
            self.add_blocked_import(name)

    def validate(self, code: Union[str, bytes]) -> Tuple[bool, List[str]]:
        """Return whether nothing was found, and what was, as messages.

        The messages read "Blocked import detected: socket", "Dangerous function
        call detected: eval", "Syntax error: …", or "Cannot be parsed: …".
        """
        issues = self.find(code)
        return not issues, [issue.message for issue in issues]

    def find(self, code: Union[str, bytes]) -> List[Issue]:
        """Return what was found, with line, column, kind and name."""
        if isinstance(code, str):
            try:
                code = code.encode("utf-8")
            except UnicodeEncodeError as error:
                return [Issue(f"Syntax error: {error}", kind="syntax")]
        try:
            facts = _parser.shared.facts(code)
        except _parser.Unparsable as error:
            return [_judge.unparsable(str(error))]
        return _judge.in_characters(code, _judge.judge(facts, self.blocked_imports))

    def add_blocked_import(self, module: str) -> None:
        """Block a module, a builtin, or a dotted name of something in a module."""
        module = module.strip()
        if module and module not in self.blocked_imports:
            self.blocked_imports.append(module)

    def remove_blocked_import(self, module: str) -> None:
        """Take a name off the list."""
        module = module.strip()
        if module in self.blocked_imports:
            self.blocked_imports.remove(module)

    def is_blocked(self, module: str) -> bool:
        """Say whether the name, or one that it lies below, is on the list."""
        return _judge.Policy(self.blocked_imports).entry(module.strip()) != ""
