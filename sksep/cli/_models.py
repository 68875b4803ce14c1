"""`sksep models`: the models that ship, and those of other packages."""

from __future__ import annotations

import shutil
from typing import Any

import click

from sksep.cli._command import DEFAULT_MODEL, Command

_EXAMPLES = """\
sksep models                # all of them, in short
sksep models uhnet          # the whole card of one
sksep separate song.wav -o out --model small
"""
_TERMS = (
    "The weights are for research and non-commercial use, because the recordings that they were "
    "trained on are; the code of sksep is under the BSD-3-Clause license."
)


@click.command("models", cls=Command, examples=_EXAMPLES)
@click.argument("name", required=False)
def models(name: str | None) -> None:
    """List the models that ship and those of other packages, or show the card of one.

    The list shows what each model was trained on, and how well it separates songs that it was not
    trained on, with the kind of the SDR. The card of a model has the whole protocol and its limits.
    """
    from sksep.peers._table import list_peers
    from sksep.pretrained import list_pretrained

    cards = {card.name: card for card in list_pretrained()}
    peers = {peer.name: peer for peer in list_peers()}
    if name is not None and name not in cards | peers:
        names = ", ".join([*cards, *peers])
        raise click.UsageError(f"There is no model {name!r}; there are {names}.")
    if name in peers:
        _write_peer(peers[name])
        return
    if name is not None:
        card = cards[name]
        _write(card, {"architecture": card.architecture, **_facts(card), **_details(card)})
    else:
        for card in cards.values():
            _write(card, _facts(card))
        click.echo("Models of other packages:\n")
        for peer in peers.values():
            _write_peer(peer)
    formatter = click.HelpFormatter(width=_width())
    formatter.write_text(_TERMS)
    click.echo(formatter.getvalue())
    click.echo(f"Use one:  sksep separate song.wav -o out --model {name or DEFAULT_MODEL}")


def _facts(card: Any) -> dict[str, str]:
    """Facts about a model in the list."""
    measure, _, _ = card.protocol.partition(". ")
    return {
        "trained on": card.training_data,
        "figures": "; ".join(f"{what}: {value}" for what, value in card.figures.items()),
        "measured as": measure.rstrip("."),
        "terms of the weights": card.terms,
    }


def _details(card: Any) -> dict[str, str]:
    """Further facts about a model on its card."""
    return {"measured as": card.protocol, "limits": card.limits}


def _write(card: Any, facts: dict[str, str]) -> None:
    formatter = click.HelpFormatter(width=_width())
    formatter.write_text(f"{card.name} ({card.size_mb:.1f} MB): {card.summary}")
    with formatter.indentation():
        formatter.write_dl([(f"{what}:", text) for what, text in facts.items() if text])
    click.echo(formatter.getvalue())


def _write_peer(peer: Any) -> None:
    facts = {"terms": peer.terms, "installed": "yes" if peer.is_installed else "no"}
    if not peer.is_installed:
        facts["installed"] += f"; {peer.install_command}"
    formatter = click.HelpFormatter(width=_width())
    formatter.write_text(f"{peer.name}: {peer.summary}")
    with formatter.indentation():
        formatter.write_dl([(f"{what}:", text) for what, text in facts.items()])
    click.echo(formatter.getvalue())


def _width() -> int:
    """Width of the terminal, limited so that lines are easy to read."""
    return min(shutil.get_terminal_size().columns, 100)
