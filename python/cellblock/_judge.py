"""Facts of a source and a list of blocked names give issues.

This is package validator's judge.go again, rule by rule; both are held to
validator/testdata/cases.json.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Set, Tuple

BUILTINS = ("builtins.", "__builtins__.")


@dataclass(frozen=True)
class Issue:
    """One finding.

    ``line`` and ``column`` count from 1, columns in characters; 0 means
    unknown. ``kind`` is import, call, reference (mentioned, to be called
    elsewhere), syntax, or unparsable (too deep, too large, too slow). ``name``
    is the entry of the blocked list, "" for a source that does not parse.
    """

    message: str
    line: int = 0
    column: int = 0
    kind: str = "unparsable"
    name: str = ""


def unparsable(why: str) -> Issue:
    return Issue("Cannot be parsed: " + why)


def judge(facts: Dict[str, Any], blocked: Iterable[str]) -> List[Issue]:
    """Issues come sorted by position, one for each position and name; columns
    are those of the facts, in bytes."""
    if "error" in facts:
        return [_error(facts["error"])]
    if "done" not in facts:
        return [unparsable("too many names")]
    policy = Policy(blocked)
    issues = policy.imports(facts["imports"])
    policy.follow(facts["aliases"])
    issues += policy.uses(facts["uses"])
    issues.sort(key=lambda i: (i.line, i.column, i.name, i.kind))
    unique: List[Issue] = []
    for issue in issues:
        last = unique[-1] if unique else None
        if last is None or (last.line, last.column, last.name) != (issue.line, issue.column, issue.name):
            unique.append(issue)
    return unique


def _error(error: Dict[str, Any]) -> Issue:
    kind, message = error["kind"], error["message"]
    # A source with NUL bytes is a ValueError up to CPython 3.11 and a
    # SyntaxError after; others differ likewise.
    if kind.endswith("SyntaxError") or kind == "ValueError" or kind.startswith("Unicode"):
        return Issue("Syntax error: " + message, error["line"], error["col"], "syntax")
    return unparsable(f"{kind}: {message}" if message else kind)


def root(name: str) -> str:
    """The first of the names in a dotted one."""
    return name.partition(".")[0]


class Policy:
    """The blocked names, and what the names of one source mean."""

    def __init__(self, blocked: Iterable[str]) -> None:
        self.blocked = set(blocked)
        # Every name that leads to a blocked one: for os.system, os and
        # os.system; for eval, eval, builtins and builtins.eval as well.
        self.leading: Set[str] = set()
        # The names that the source imports or aliases. Any other stands for
        # itself: a builtin, or what an earlier execution imported.
        self.own: Set[str] = set()
        # Which of leading a name may stand for.
        self.means: Dict[str, List[str]] = {}
        for entry in self.blocked:
            self._lead(entry)
            if "." not in entry:
                for builtins in BUILTINS:
                    self._lead(builtins + entry)

    def _lead(self, name: str) -> None:
        parts = name.split(".")
        for i in range(1, len(parts) + 1):
            self.leading.add(".".join(parts[:i]))

    def entry(self, name: str) -> str:
        """The blocked name that a dotted name is or lies below, or ""."""
        for builtins in BUILTINS:
            if name.startswith(builtins):
                name = name[len(builtins) :]
        parts = name.split(".")
        for i in range(1, len(parts) + 1):
            candidate = ".".join(parts[:i])
            if candidate in self.blocked:
                return candidate
        return ""

    def imports(self, imports: List[Dict[str, Any]]) -> List[Issue]:
        """Find blocked imports and learn what the others bind. A name that
        comes from a blocked import is not followed: its issue is the import."""
        issues = []
        for i in imports:
            # full is what is imported, meaning what the bound name stands for.
            full, bound, name = i["module"], i["as"], i["name"]
            meaning = full
            if not name and not bound:  # import a.b binds a
                bound = meaning = root(full)
            elif name == "*":
                bound = ""
            elif name:
                full += "." + name
                meaning, bound = full, bound or name
            if bound:
                self.own.add(bound)
            if i["level"] > 0:  # a module of the source's own package
                continue
            entry = self.entry(full)
            if entry:
                issues.append(Issue("Blocked import detected: " + entry, i["line"], i["col"], "import", entry))
            elif name == "*":
                self._learn_star(full)
            else:
                self._learn(bound, meaning)
        return issues

    def _learn(self, name: str, meaning: str) -> bool:
        """Note that name may stand for meaning, and say whether that is news."""
        known = self.means.get(name, [])
        if meaning not in self.leading or meaning in known:
            return False
        self.means[name] = known + [meaning]
        return True

    def _learn_star(self, module: str) -> None:
        """Learn every name that `from module import *` may bind."""
        for meaning in sorted(self.leading):
            if meaning.startswith(module + "."):
                rest = meaning[len(module) + 1 :]
                if "." not in rest:
                    self._learn(rest, meaning)

    def follow(self, aliases: List[Dict[str, Any]]) -> None:
        """Learn what aliases stand for, until nothing is news. It ends: every
        step adds one of leading to one name."""
        by_root: Dict[str, List[Tuple[str, str]]] = {}
        for a in aliases:
            self.own.add(a["name"])
            by_root.setdefault(root(a["source"]), []).append((a["name"], a["source"]))
        news: List[Tuple[str, str]] = []

        def take(name: str, source: str, meaning: str) -> None:
            full = meaning + source[len(root(source)) :]
            full = self.entry(full) or full
            if self._learn(name, full):
                news.append((name, full))

        for name, found in by_root.items():
            for alias, source in found:
                if name not in self.own or (source == name and name in self.blocked):
                    take(alias, source, name)
            for meaning in list(self.means.get(name, ())):
                for alias, source in found:
                    take(alias, source, meaning)
        while news:
            name, meaning = news.pop()
            for alias, source in by_root.get(name, ()):
                take(alias, source, meaning)

    def uses(self, uses: List[Dict[str, Any]]) -> List[Issue]:
        """Find calls and mentions of blocked names."""
        issues = []
        for use in uses:
            full, call, at = use["name"], use["call"], use["at"]
            name = root(full)
            rest = full[len(name) :]
            entries = set()
            # A plain name that is called is taken for the builtin even where
            # the code defines its own.
            if name not in self.own or (call and not rest):
                entries.add(self.entry(full))
            for meaning in self.means.get(name, ()):
                entries.add(self.entry(meaning + rest))
            for entry in sorted(entries - {""}):
                for line, column in zip(at[::2], at[1::2]):
                    issues.append(
                        Issue("Dangerous function call detected: " + entry, line, column, "call" if call else "reference", entry)
                    )
        return issues


def in_characters(code: bytes, issues: List[Issue]) -> List[Issue]:
    """Turn the byte columns of issues into columns in characters, where the
    source is UTF-8. A source that a coding cookie gives another encoding keeps
    the parser's bytes."""
    if code.isascii():
        return issues
    if code.startswith(b"\xef\xbb\xbf"):  # CPython does not count it
        code = code[3:]
    try:
        code.decode("utf-8")
    except UnicodeDecodeError:
        return issues
    # As CPython's tokenizer ends lines: at \n, \r\n or a lone \r.
    lines = code.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    counted = []
    for i in issues:
        column = i.column
        if i.kind not in ("syntax", "unparsable") and 0 < i.line <= len(lines):
            line = lines[i.line - 1]
            if 0 < column - 1 <= len(line):
                column = 1 + len(line[: column - 1].decode("utf-8", "replace"))
        counted.append(Issue(i.message, i.line, column, i.kind, i.name))
    return counted
