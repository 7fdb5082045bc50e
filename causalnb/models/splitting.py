"""A graph in two at a layer, and what flows past it."""

import operator

from torch import fx

from causalnb.models.tracing import Uncuttable, Whole


def split(whole: Whole, graph: fx.Graph, seam: fx.Node) -> tuple[fx.Graph, fx.Graph]:
    """The graph up to a node, which gives (features, batch sizes ...), and the graph from there on."""
    order, after = list(graph.nodes), list[fx.Node]()
    place = order.index(seam)
    before = order[:place]
    for node in order[place + 1 :]:
        early = _reads_size(node) and set(before).issuperset(node.all_input_nodes)
        (before if early else after).append(node)
    tail, sizes = _tail(before, seam, after, copied=any(_may_write(whole, node) for node in after))
    head, made = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in (*before, seam):
        made[node] = head.node_copy(node, made.__getitem__)
    head.output(tuple(made[node] for node in (seam, *sizes)))
    return head, tail


def _tail(
    before: list[fx.Node], seam: fx.Node, after: list[fx.Node], *, copied: bool
) -> tuple[fx.Graph, list[fx.Node]]:
    """The second graph, and the batch sizes of the first that it takes from the features; `copied`: it works
    on a copy of them.
    """
    tail, sizes = fx.Graph(), list[fx.Node]()
    fed, numbers = _fed(before)
    given = tail.placeholder("features")
    made = {seam: tail.call_method("clone", (given,)) if copied else given}

    def of(node: fx.Node) -> fx.Node:
        if node not in made:
            if node in fed:
                raise Uncuttable(f"{_what(node)} past it")
            if buffer := _updated(node):
                made[node] = of(buffer)
            elif node in numbers:
                sizes.append(node)
                made[node] = tail.call_method("size", (given, 0))
            else:
                made[node] = tail.node_copy(node, of)
        return made[node]

    for node in after:
        made[node] = tail.node_copy(node, of)
    return tail, sizes


def _updated(node: fx.Node) -> fx.Node | None:
    """The buffer of which a node is the new value: the first graph has written it."""
    if _writes(node) and node.args and isinstance(node.args[0], fx.Node):
        first = node.args[0]
        return first if first.op == "get_attr" else _updated(first)
    return None


def _fed(nodes: list[fx.Node]) -> tuple[set[fx.Node], set[fx.Node]]:
    """The nodes that depend on the images, and those that know of them only how many they are."""
    fed, numbers = set[fx.Node](), set[fx.Node]()
    for node in nodes:
        if node.op == "placeholder" or fed.intersection(node.all_input_nodes):
            (numbers if _is_batch_size(node) else fed).add(node)
    return fed, numbers


def _reads_size(node: fx.Node) -> bool:
    """Whether a node is `x.shape`, `x.size(...)`, or an item of one of them."""
    source = node.args[0] if node.target is operator.getitem else node
    return isinstance(source, fx.Node) and (
        source.target == "size" or (source.target is getattr and source.args[1] == "shape")
    )


def _is_batch_size(node: fx.Node) -> bool:
    """Whether a node is `x.shape[0]`, `x.size(0)` or `x.size()[0]`."""
    return _reads_size(node) and (*node.args[1:], *node.kwargs.values()) == (0,)


def divides(whole: Whole, graph: fx.Graph, node: fx.Node) -> bool:
    """Whether nothing flows past a node."""
    try:
        split(whole, graph, node)
    except Uncuttable:
        return False
    return True


def _may_write(whole: Whole, node: fx.Node) -> bool:
    """Whether a step might change a tensor that it is given: one that says so, and any module that is not
    torch's own.
    """
    if node.op == "call_module":
        return any(
            getattr(module, "inplace", False) or not type(module).forward.__module__.startswith("torch.nn")
            for module in whole.get_submodule(str(node.target)).modules()
        )
    home = str(getattr(node.target, "__module__", None) or "torch").partition(".")[0]
    return (
        home not in _KNOWN
        or _writes(node)
        or "out" in node.kwargs
        or any(value is True for value in (*node.args, *node.kwargs.values()))
    )


def _writes(node: fx.Node) -> bool:
    """Whether a step is named as one that changes its first tensor, and gives it back."""
    name = str(getattr(node.target, "__name__", node.target))
    return node.op.startswith("call_") and (
        (name.endswith("_") and not name.endswith("__")) or f"__{name}__" in _IN_PLACE
    )


_KNOWN = frozenset(("torch", "builtins", "operator", "_operator", "math"))
_IN_PLACE = frozenset(name for name in vars(operator) if name.startswith("__i"))


def _what(node: fx.Node) -> str:
    if node.op == "placeholder":
        return "the images flow"
    source = str(node.target).removeprefix("model.") if node.op == "call_module" else f"the step {node.name}"
    return f"the output of {source} flows"
