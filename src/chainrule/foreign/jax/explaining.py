"""The function that users call: explain a number of a function of JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chainrule.explain import notation as notations
from chainrule.explain.notation import Notation

if TYPE_CHECKING:
    from chainrule.foreign.jax.explanation import JaxExplanation


def explain_jax(
    loss: Callable[..., Any],
    arguments: tuple[Any, ...],
    target: str,
    *,
    notation: Notation | str = "default",
) -> JaxExplanation:
    """Explain one number of a function of JAX: the derivative of the loss with respect to it.

    The function is traced and its operations are computed once, in the dtype of the arguments.
    Numbers are JAX's: one reverse pass gives ∂C/∂ of every value, and forward mode on one operation
    gives how its result moves. Most operations have their derivative in symbols, too; for others
    the explanation says that there is none. What is jitted is opened; a function with a derivative
    of its own (custom_jvp, custom_vjp) and loops (scan, while, cond) are one operation each.

    Args:
        loss: The function, as `jax.grad` takes it: from the arguments to one number.
        arguments: Its arguments, a tuple: arrays, or trees of them.
        target: What to explain. The leaves of the first argument, the parameters, go by their path,
            "dense.kernel[3,7]" or "0.w[1,2]"; those of the others by the name of the argument,
            "x[0,2]"; and results of operations by their name, ":tanh[0,3]" or
            ":dot_general#2[1,4]".
        notation: A `Notation`, or the name of one that ships: "default", "C-a-L" or "L-h".

    Returns:
        The explanation, a sum over the operations that read the number.

    Raises:
        ImportError: JAX is not installed.
        TypeError: ``loss`` is not a function, ``arguments`` is not a tuple, or ``target`` not a
            text.
        ValueError: There is no such number, it has no derivative, or the loss is not one number.

    Examples:
        >>> import jax.numpy as jnp  # doctest: +SKIP
        >>> import chainrule as cr  # doctest: +SKIP
        >>> def loss(params, x, y):  # doctest: +SKIP
        ...     return ((jnp.tanh(x @ params["w"]) - y) ** 2).mean()
        >>> params = {"w": jnp.ones((2, 1))}  # doctest: +SKIP
        >>> x, y = jnp.ones((3, 2)), jnp.zeros((3, 1))  # doctest: +SKIP
        >>> why = cr.explain_jax(loss, (params, x, y), "w[0,0]")  # doctest: +SKIP
        >>> why.terms[0].call, len(why.terms[0].contributions)  # doctest: +SKIP
        ('dot_general', 3)
    """
    try:
        import jax  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "explain_jax needs JAX, which is not installed: pip install 'chainrule[jax]'"
        ) from error
    from chainrule.foreign.jax.explanation import explain

    return explain(loss, arguments, target, notations.get(notation))
