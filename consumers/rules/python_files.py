"""Rules in Python, loaded from files that are named one by one: loading a file runs it.

Each load runs the file anew, under a private module name. A file's content is part of its rules' hash, so
that another content is another rule to open alerts.
"""

from __future__ import annotations

import hashlib
import sys
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path

import msgspec

from pipeline.errors import ConfigError, RuleError
from pipeline.python_rule import PythonRule, described

__all__ = ["python_rules"]


def python_rules(file: str) -> list[PythonRule]:
    """Run a file and return its rules, in the order in which they stand there.

    Raises:
        ConfigError: there is no such file.
        RuleError: it can't be run, or holds no rule, or two of one id; with the line.
    """
    path = Path(file)
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{file} can't be read: {error.strerror or error} (seen from {Path.cwd()})", path="python_rules"
        ) from error
    found = list({id(v): v for v in _run(file, source).values() if isinstance(v, PythonRule)}.values())
    if not found:
        raise RuleError("there is no rule here; write @rule(…) above a function", file=file)
    content = hashlib.sha256(source).digest()
    rules: dict[str, PythonRule] = {}
    for rule in found:
        if (other := rules.get(rule.about.id)) is not None:
            raise RuleError(
                f"{rule.about.id!r} is the id of the rule in line {other.about.line} already",
                file=rule.about.file,
                line=rule.about.line,
            )
        whole = hashlib.sha256(rule.about.hash.encode() + content).hexdigest()[:16]
        about = msgspec.structs.replace(rule.about, hash=whole)
        rules[about.id] = msgspec.structs.replace(rule, about=about)
    return list(rules.values())


def _run(file: str, source: bytes) -> dict[str, object]:
    """Return the namespace that a file's code leaves behind."""
    # Not by importlib's loader of files: it takes compiled code by the time of a file, to the second.
    name = f"_tocsin_rules_{hashlib.sha256(str(Path(file).absolute()).encode()).hexdigest()[:16]}"
    module = module_from_spec(ModuleSpec(name, None, origin=file))
    module.__file__ = file
    before = sys.modules.get(name)
    # Dataclasses and type hints look their module up.
    sys.modules[name] = module
    try:
        exec(compile(source, file, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 — it is asked for
    except RuleError:
        _restore(name, before)
        raise
    except (Exception, SystemExit) as error:
        _restore(name, before)
        said = described(error)
        if isinstance(error, SyntaxError):
            # Its text has the place in it, which is told already.
            said = f"{type(error).__name__}: {error.msg}"
        raise RuleError(said, file=file, line=_line(error, file)) from error
    return vars(module)


def _restore(name: str, module: object) -> None:
    if module is None:
        del sys.modules[name]
    else:
        sys.modules[name] = module  # type: ignore[assignment]  # it was one before


def _line(error: BaseException, file: str) -> int:
    """Return the line of a file where an error came up, or 0."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return error.lineno or 0
    line = 0
    at = error.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename == file:
            line = at.tb_lineno
        at = at.tb_next
    return line
