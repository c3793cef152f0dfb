"""Every small change of a file that a careless hand might make: one operator, number, argument, call or statement."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OPERATORS: dict[type[ast.AST], list[type[ast.AST]]] = {
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div],
    ast.Div: [ast.Mult],
    ast.FloorDiv: [ast.Mult],
    ast.Mod: [ast.FloorDiv],
    ast.Pow: [ast.Mult],
    ast.BitAnd: [ast.BitOr],
    ast.BitOr: [ast.BitAnd],
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
    ast.And: [ast.Or],
    ast.Or: [ast.And],
}
PAIRS = ["min max", "amin amax", "any all", "sum mean", "zeros ones", "zeros_like ones_like", "floor ceil", "log log1p"]
NAMES = {a: b for pair in PAIRS for a, b in (pair.split(), pair.split()[::-1])}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Mutant:
    """A changed file: `lines` are those of the outermost function around the change, none outside of functions."""

    path: str
    function: str
    line: int
    lines: range
    cached: bool  # the function remembers what it returned
    before: str
    after: str
    source: str
    number: int = 0  # of several alike in a function

    @property
    def key(self) -> str:
        """What it is known by in the results, wherever in the file the function is."""
        alike = f" ({self.number + 1})" if self.number else ""
        return f"{self.path}: {self.function or 'top'}: {self.before} -> {self.after}{alike}"


def mutants(root: Path, path: Path) -> list[Mutant]:
    """All mutants of a file."""
    text = path.read_text()
    found: dict[str, int] = {}
    result = []
    for node, replacement, owner in _changes(ast.parse(text), None):
        before, source = _replaced(text, node, replacement)
        lines = range(0) if owner is None else range(_first(owner), (owner.end_lineno or 0) + 1)
        cached = owner is not None and any("cache" in ast.unparse(mark) for mark in owner.decorator_list)
        name, after = owner.name if owner else "", replacement[:80]
        place = f"{name}{before}{after}"
        number = found[place] = found.get(place, -1) + 1
        here = str(path.relative_to(root))
        result.append(Mutant(here, name, node.lineno, lines, cached, before, after, source, number))
    return result


def _first(function: ast.FunctionDef) -> int:
    return min([function.lineno, *(mark.lineno for mark in function.decorator_list)])


def _replaced(text: str, node: ast.expr | ast.stmt, replacement: str) -> tuple[str, str]:
    """What stood in the place of a node, in one line, and the text with the replacement."""
    lines = text.encode().splitlines(keepends=True)
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: (node.end_lineno or 0) - 1])) + (node.end_col_offset or 0)
    whole = text.encode()
    before = " ".join(whole[start:end].decode().split())[:80]
    return before, (whole[:start] + replacement.encode() + whole[end:]).decode()


def _changes(
    node: ast.AST, owner: ast.FunctionDef | None
) -> Iterator[tuple[ast.expr | ast.stmt, str, ast.FunctionDef | None]]:
    """Each node that can be changed, what to put in its place, and the outermost function that it is in."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "type_comment"):
            continue
        if name == "decorator_list":
            value = [mark for mark in value if not ast.unparse(mark).startswith(("dataclass", "lru_cache"))]
        inside = owner
        if isinstance(node, ast.FunctionDef) and owner is None and name == "body":
            inside = node
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.keyword) and child.arg == "strict":  # of zip: a guard that nothing ever meets
                continue
            if not isinstance(child, ast.AST) or isinstance(child, ast.Raise | ast.JoinedStr):
                if isinstance(child, ast.Raise):
                    yield child, "pass", inside
                continue
            if isinstance(child, ast.expr):
                yield from ((child, f"({text})", inside) for text in _of_expression(child))
            elif isinstance(child, ast.stmt):
                yield from ((child, text, inside) for text in _of_statement(child))
            yield from _changes(child, inside)


def _of_statement(node: ast.stmt) -> Iterator[str]:
    called = isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant | ast.Yield | ast.YieldFrom)
    stored = isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Name | ast.Tuple)
    if called or stored or isinstance(node, ast.AugAssign):
        yield "pass"
    if isinstance(node, ast.Continue):
        yield "break"


def _of_expression(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.BinOp(op=op) if not any(
            isinstance(side, ast.Constant) and isinstance(side.value, str) for side in (node.left, node.right)
        ):
            yield from (ast.unparse(ast.BinOp(node.left, other(), node.right)) for other in _others(op))
        case ast.Compare(ops=[op]):
            yield from (ast.unparse(ast.Compare(node.left, [other()], node.comparators)) for other in _others(op))
        case ast.BoolOp(op=op):
            yield from (ast.unparse(ast.BoolOp(other(), node.values)) for other in _others(op))
        case ast.UnaryOp(op=ast.USub() | ast.Not(), operand=operand):
            yield ast.unparse(operand)
        case ast.IfExp():
            yield ast.unparse(node.body)
            yield ast.unparse(node.orelse)
        case ast.Constant(value=bool(value)):
            yield str(not value)
        case ast.Constant(value=int(value)):
            yield str(value + 1)
        case ast.Constant(value=float(value)):
            yield repr(value * 2 if value else 1.0)
        case ast.Attribute(attr=name) if name in NAMES:
            yield ast.unparse(ast.Attribute(node.value, NAMES[name], ast.Load()))
        case ast.Name(id=name) if name in NAMES:
            yield NAMES[name]
        case ast.Call():
            yield from _of_call(node)


def _of_call(node: ast.Call) -> Iterator[str]:
    for keyword in node.keywords:
        if keyword.arg and keyword.arg != "strict":
            others = [other for other in node.keywords if other is not keyword]
            yield ast.unparse(ast.Call(node.func, node.args, others))
    if isinstance(node.func, ast.Name) and len(node.args) > 1:
        yield ast.unparse(ast.Call(node.func, node.args[:-1], node.keywords))
    if isinstance(node.func, ast.Attribute) and not _is_module(node.func.value):
        yield ast.unparse(node.func.value)


def _is_module(node: ast.expr) -> bool:
    return ast.unparse(node).partition(".")[0] in {
        "torch",
        "math",
        "np",
        "nn",
        "json",
        "os",
        "time",
        "ESTIMATORS",
        "cls",
    }


def _others(operator: ast.AST) -> list[type[ast.AST]]:
    return OPERATORS.get(type(operator), [])
