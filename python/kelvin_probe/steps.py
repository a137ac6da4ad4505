"""Hooks around optimizer.step, and what its parameter groups say."""
import types


def plain(optimizer):
    """The optimiser inside wrappers such as those of Accelerate and Lightning."""
    while hasattr(getattr(optimizer, "optimizer", None), "param_groups"):
        optimizer = optimizer.optimizer
    return optimizer


def around(optimizer, before, after):
    """Calls before() and after() around every step of the optimiser; returns what undoes it.

    before() sees the gradients: where the step is given a closure that computes
    them, as Lightning does, it comes after that.
    """
    if hasattr(optimizer, "register_step_pre_hook"):  # torch 2.0
        def pre(_, args, kwargs):
            own = 1 if args and args[0] is optimizer else 0
            return args[:own] + delayed(args[own:], kwargs, before), kwargs
        hooks = [optimizer.register_step_pre_hook(pre), optimizer.register_step_post_hook(lambda *_: after())]
        return lambda: [hook.remove() for hook in hooks]
    step = optimizer.step

    def wrapped(self, *args, **kwargs):
        result = step(*delayed(args, kwargs, before), **kwargs)
        after()
        return result
    wrapped.__dict__.update(getattr(step, "__dict__", {}))  # learning-rate schedulers mark it
    wrapped = types.MethodType(wrapped, optimizer)  # schedulers want a method
    optimizer.step = wrapped

    def undo():
        if optimizer.step is wrapped:
            optimizer.step = step
    return undo


def delayed(args, kwargs, before):
    """The arguments of a step, with before() called now or at the first call of the closure among them."""
    closure = args[0] if args else kwargs.pop("closure", None)
    if closure is None:
        before()
        return args
    called = []

    def evaluated(*a, **k):
        result = closure(*a, **k)
        if not called:
            called.append(True)
            before()
        return result
    return (evaluated,) + tuple(args[1:])


def layers(model, optimizer):
    """{layer: [(parameter, L2 penalty)]}: what the optimiser trains, by the module that holds it."""
    penalties = {}
    for group in optimizer.param_groups:
        for p in group["params"]:
            penalties[p] = group.get("weight_decay", 0.0) if penalised(optimizer, group) else 0.0
    found = {}
    for name, p in model.named_parameters():
        if p in penalties and p.requires_grad:
            name = plain_name(name)
            found.setdefault(name.rpartition(".")[0] or name, []).append((p, penalties[p]))
    return found


def plain_name(name):
    """The name that a layer has when torch.compile does not wrap it."""
    return name.replace("_orig_mod.", "")


def penalised(optimizer, group):
    """Whether weight decay is part of the gradient. AdamW and its like decay the weights beside it."""
    kind = type(optimizer).__name__.lower()
    return "adamw" not in kind and "lion" not in kind and not group.get("decoupled_weight_decay", False)


def settings(optimizer):
    """Learning rate and momentum of the first parameter group.

    beta1 where the step is not the u' = µu − ηg that the kinetic thermometer knows.
    """
    group = optimizer.param_groups[0]
    values = {"learning_rate": float(group["lr"])} if "lr" in group else {}
    if "momentum" in group:
        plain = type(optimizer).__name__ == "SGD" and not group.get("nesterov") and not group.get("dampening")
        values["momentum" if plain else "beta1"] = float(group["momentum"])
    elif "betas" in group:
        values["beta1"] = float(group["betas"][0])
    return values


def rates(optimizer, layers):
    """{layer: learning rate}, where the groups differ."""
    rate = {p: group.get("lr") for group in optimizer.param_groups for p in group["params"]}
    if len(set(map(float, rate.values()))) < 2:
        return {}
    return {name: float(rate[held[0][0]]) for name, held in layers.items()}
