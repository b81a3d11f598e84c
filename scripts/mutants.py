"""Small faults that can be planted in a Python file: where they are, and the file with one of them in it.

Only what a program computes is changed: no text, no annotation, no message of an error, no decorator.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COMPARE = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
BINARY = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "/",
    ast.Mod: "*",
    ast.Pow: "*",
    ast.BitAnd: "|",
    ast.BitOr: "&",
    ast.BitXor: "&",
    ast.LShift: ">>",
    ast.RShift: "<<",
    ast.MatMult: "+",
}
EXCHANGED = {"min": "max", "max": "min", "any": "all", "all": "any", "ceil": "floor", "floor": "ceil"}


@dataclass(frozen=True)
class Mutant:
    """One replacement in one file; ``line`` counts from 1, ``start`` and ``end`` are offsets in bytes.

    ``number`` tells equal replacements of one file apart, so that a mutant keeps its name when lines move.
    """

    path: Path
    line: int
    start: int
    end: int
    before: str
    after: str
    number: int

    def applied(self) -> bytes:
        """The file with the fault in it."""
        content = self.path.read_bytes()
        return content[: self.start] + self.after.encode() + content[self.end :]

    def __str__(self) -> str:
        before, after = (" ".join(text.split()) for text in (self.before, self.after))
        return f"{self.path}: {before} -> {after}" + (f" (no. {self.number + 1})" if self.number else "")


def mutants(path: Path) -> list[Mutant]:
    """Every fault of the kinds above that the file can have, in the order of the file; each still compiles."""
    content = path.read_bytes()
    starts = [0]
    for line in content.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found, numbers = [], Counter[tuple[str, str]]()
    for node, after in _changes(ast.parse(content)):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        before = content[start:end].decode()
        mutant = Mutant(path, node.lineno, start, end, before, after, numbers[before, after])
        try:
            compile(mutant.applied(), str(path), "exec")
        except SyntaxError:
            continue
        numbers[before, after] += 1
        found.append(mutant)
    return found


def _changes(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    yield from _of(node)
    for child in _children(node):
        yield from _changes(child)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """What may be changed below a node."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        if isinstance(node, ast.Raise) or (isinstance(node, ast.keyword) and node.arg in ("metadata", "help")):
            continue
        if isinstance(node, ast.Subscript) and _text(node.value) in ("Literal", "Annotated", "cast"):
            continue
        if isinstance(node, ast.If) and _text(node.test) == "TYPE_CHECKING":
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr | ast.Import | ast.ImportFrom):
                yield child


def _of(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARE:
        yield node, f"{_text(node.left)} {COMPARE[type(node.ops[0])]} {_text(node.comparators[0])}"
    elif isinstance(node, ast.BinOp) and type(node.op) in BINARY and not _is_text(node):
        yield node, f"(({_text(node.left)}) {BINARY[type(node.op)]} ({_text(node.right)}))"
    elif isinstance(node, ast.BoolOp):
        other = " or " if isinstance(node.op, ast.And) else " and "
        yield node, f"({other.join(f'({_text(value)})' for value in node.values)})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node, f"({_text(node.operand)})"
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield node, str(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield node, repr(node.value + 1)
    elif isinstance(node, ast.If | ast.While):
        yield node.test, f"not ({_text(node.test)})"
    elif isinstance(node, ast.IfExp):
        yield node, f"({_text(node.orelse)} if {_text(node.test)} else {_text(node.body)})"
    elif isinstance(node, ast.AugAssign):
        yield node, f"{_text(node.target)} = {_text(node.value)}"
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield node, "pass"
    elif isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else _text(node.func)
        if name in EXCHANGED:
            yield node.func, _text(node.func)[: -len(name)] + EXCHANGED[name]
        elif len(node.args) == 2 and not any(isinstance(argument, ast.Starred) for argument in node.args):
            swapped = [_text(node.args[1]), _text(node.args[0]), *map(_text, node.keywords)]
            yield node, f"{_text(node.func)}({', '.join(swapped)})"


def _is_text(node: ast.BinOp) -> bool:
    """Whether a sum or product is one of strings."""
    sides = (node.left, node.right)
    return any(isinstance(side, ast.JoinedStr | ast.Constant) and not _is_number(side) for side in sides)


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def _text(node: ast.AST) -> str:
    return ast.unparse(node)
