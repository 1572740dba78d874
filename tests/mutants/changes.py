"""What can be changed in a module by a sign, a bound, a constant, an axis, a condition, a statement: its mutants, the same ones at each run

Left out are texts, types and drawing. What touches gradients comes first; the longer a function, the more of its changes are taken.
"""
import ast, difflib, random, re
from typing import NamedTuple

SWAPS = {ast.Lt: ('<', '<=', '>'), ast.LtE: ('<=', '<', '>='), ast.Gt: ('>', '>=', '<'), ast.GtE: ('>=', '>', '<='), ast.Eq: ('==', '!='),
         ast.NotEq: ('!=', '=='), ast.In: ('in', 'not in'), ast.NotIn: ('not in', 'in'), ast.Is: ('is', 'is not'), ast.IsNot: ('is not', 'is'),
         ast.Add: ('+', '-'), ast.Sub: ('-', '+'), ast.Mult: ('*', '/'), ast.Div: ('/', '*'), ast.FloorDiv: ('//', '*'), ast.Pow: ('**', '*'),
         ast.And: ('and', 'or'), ast.Or: ('or', 'and')}
NAMES = {a: b for pair in ('min max', 'amin amax', 'argmin argmax', 'any all', 'sum mean', 'floor ceil', 'no_grad enable_grad', 'train eval')
         for a, b in (pair.split(), pair.split()[::-1])}
DROPPED = {'abs', 'square', 'sqrt', 'detach', 'clone', 'sigmoid', 'flatten', 'sorted', 'round', 'rstrip'}  # calls that give what they were given
DRAWING = {'ax', 'axs', 'fig', 'plt', 'bar'}
GRADIENTS = re.compile(rb'zero_grad|no_grad|grad = None')  # changed first
COSMETIC = {'color', 'weight', 'figsize', 'layout', 'subplot_kw', 'style', 'leave', 'disable', 'ncols', 'description', 'help', 'metavar'}


class Mutant(NamedTuple):
    module:str
    function:str
    line:int
    cell:str  # id of the notebook's cell; the first exported one for the control
    text:str  # the whole module
    diff:tuple  # lines that go and come; empty for the control


class Source:
    "The text of a module, and where its nodes stand"
    def __init__(self, text):
        self.raw, self.starts = text.encode(), [0]
        for line in self.raw.splitlines(True): self.starts.append(self.starts[-1] + len(line))
    def span(self, node):
        return self.starts[node.lineno - 1] + node.col_offset, self.starts[node.end_lineno - 1] + node.end_col_offset
    def of(self, node): return self.raw[slice(*self.span(node))].decode()
    def whole(self, node): return f'({self.of(node)})' if isinstance(node, (ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.UnaryOp)) else self.of(node)


def swaps(source, op, left, right):
    "Other operators between two nodes"
    start, end = source.span(left)[1], source.span(right)[0]
    old, *others = SWAPS.get(type(op), [''])
    for new in others: yield type(op).__name__, start, end, source.raw[start:end].decode().replace(old, new, 1)


def changes(source, node):
    "What can be changed in `node` and below: (kind, first byte, end, new text)"
    def put(kind, new, at=node): return kind, *source.span(at), new
    def draws(call): return re.match(r'\w*', source.of(call))[0] in DRAWING
    below = ast.iter_child_nodes(node)
    match node:
        case ast.JoinedStr() | ast.arg(): return
        case ast.Call() if draws(node): return
        case ast.keyword(arg=name) if name in COSMETIC: return
        case ast.Assign(targets=[target]) if {n.id for n in ast.walk(target) if isinstance(n, ast.Name)} <= COSMETIC: return
        case ast.FunctionDef(): below = [*node.decorator_list, node.args, *node.body]
        case ast.Raise():
            yield put('drop', 'pass')
            return
        case ast.AugAssign() | ast.Assign(targets=[ast.Attribute() | ast.Subscript()]): yield put('drop', 'pass')
        case ast.Expr(value=ast.Call()) if not draws(node): yield put('drop', 'pass')
        case ast.Compare():
            for op, left, right in zip(node.ops, [node.left, *node.comparators], node.comparators): yield from swaps(source, op, left, right)
        case ast.BoolOp():
            for left, right in zip(node.values, node.values[1:]): yield from swaps(source, node.op, left, right)
        case ast.BinOp() if not any(re.match('[bfr]*[\'"]', source.of(n)) for n in (node.left, node.right)):
            yield from swaps(source, node.op, node.left, node.right)
        case ast.UnaryOp(): yield put('sign', source.whole(node.operand))
        case ast.Constant(value=bool()): yield put('switch', str(not node.value))
        case ast.Constant(value=int(n)) if n <= 28: yield from (put('constant', str(new)) for new in sorted({n + 1, abs(n - 1)}))
        case ast.Constant(value=int() | float()): yield put('constant', str(2*node.value))
        case ast.If() | ast.While() | ast.IfExp() | ast.comprehension():
            for test in node.ifs if isinstance(node, ast.comprehension) else [node.test]:
                if not isinstance(test, (ast.Compare, ast.UnaryOp)): yield put('condition', f'(not {source.whole(test)})', test)
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            end = source.span(node.func)[1]
            method = isinstance(node.func, ast.Attribute)
            if name in NAMES and (method or name != 'sum'): yield 'name', end - len(name), end, NAMES[name]
            if name in DROPPED: yield put('call', source.whole(node.func.value if method else node.args[0]))
    for one in below: yield from changes(source, one)


def functions(tree):
    "Each function and method of a module, with its name"
    for node in tree.body:
        for one in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(one, ast.FunctionDef): yield (f'{node.name}.' if one is not node else '') + one.name, one


def cells(text):
    "The cells that a module was made from: id -> code"
    text = re.sub(r'^from \.(\w*) import', lambda m: f'from {("digitlab." + m[1]).rstrip(".")} import', text, flags=re.M)
    parts = re.split(r'^# %% \S+ #(\w+)\n', text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def mutants(project, module, most, seed):
    "The control, and mutants of each function of a module"
    text = (project/'digitlab'/f'{module}.py').read_text(encoding='utf-8')
    source, made = Source(text), [Mutant(module, '', 0, list(cells(text))[1], text, ())]  # the first cell is nbdev's list of names
    for name, node in functions(ast.parse(text)):
        found, chosen, kinds = [*changes(source, node)], [], set()
        if not found: found = [('empty', source.span((node.body[1:] or node.body)[0])[0], source.span(node)[1], 'pass')]  # nothing but drawing and texts
        random.Random(f'{seed} {module} {name}').shuffle(found)
        found.sort(key=lambda change: not GRADIENTS.search(source.raw[change[1]:change[2]]))
        for kind, start, end, new in found:
            changed = (source.raw[:start] + new.encode() + source.raw[end:]).decode()
            if kind in kinds or not differs(text, changed): continue
            kinds.add(kind)
            diff = [re.sub(r'^(.)\s*', r'\1 ', d) for d in difflib.unified_diff(text.splitlines(), changed.splitlines(), n=0, lineterm='')][3:]
            cell = re.findall(r'^# %% \S+ #(\w+)\n', source.raw[:start].decode(), re.M)[-1]
            chosen.append(Mutant(module, name, source.raw[:start].count(b'\n') + 1, cell, changed, tuple(diff)))
        made += chosen[:min(most, 1 + len(found)//8)]
    return made


def differs(text, changed):
    "Whether a change of the text is one of the program"
    try: return ast.dump(ast.parse(text)) != ast.dump(ast.parse(changed))
    except SyntaxError: return False
