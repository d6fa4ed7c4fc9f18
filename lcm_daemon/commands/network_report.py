"""What `lcm-daemon run` prints about the network: addresses that work, and what is open to others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lcm_daemon.core.network import NONE, PLAY, VIEW
from lcm_daemon.shows.show import Show
from lcm_daemon.web.address import browser_url, is_open, network_urls

Row = tuple[str, str, str]  # what it is, its address, from where it works

_HERE, _THERE = "from this machine", "from the network"
_NO_PHONES = f"{_HERE}; for phones, set audience.host to 0.0.0.0"
_OTHERS = {
    VIEW: "others see the page and change nothing without the pin",
    NONE: "others see nothing without the pin",
    PLAY: "everyone in the network plays, because network.access.others is play",
}


def address_rows(show: Show, addresses: Sequence[str]) -> list[Row]:
    """The addresses of a show's servers.

    Args:
        show: The show.
        addresses: The addresses of this machine in the network.
    """
    rows: list[Row] = []
    panel, secure = show.controllers["panel"], show.network.tls is not None
    if panel is not None and panel["port"]:
        own, port = browser_url(panel["host"], panel["port"], secure), panel["port"]
        others = network_urls(panel["host"], port, addresses, secure)
        rows += [("page", own, _HERE), *(("", url, _THERE) for url in others)]
        rows.append(("screen", f"{(others or [own])[0]}/output", "the picture alone, for a browser on a projector"))
    if show.osc is not None:
        host, port = show.osc["host"], (show.osc["ports"] or (show.osc["port"],))[0]
        own, others = browser_url(host, port), network_urls(host, port, addresses)
        rows += [(word, f"udp {url.partition('://')[2]}", where) for word, url, where in
                 [("OSC", own, _HERE), *(("", other, _THERE) for other in others)]]
    rows += visitor_rows(show, addresses)
    query = show.controllers["oscquery"]
    if query is not None and query["port"]:
        rows.append(("OSCQuery", browser_url(query["host"], query["port"]), _HERE))
        rows += [("", url, _THERE) for url in network_urls(query["host"], query["port"], addresses)]
    return rows


def visitor_rows(show: Show, addresses: Sequence[str]) -> Iterator[Row]:
    """The addresses of the visitors' server, as of `address_rows`."""
    audience, secure = show.audience, show.network.tls is not None
    if audience is None or not audience.port:
        return
    if audience.address:
        yield "visitors", audience.address, "from where the show says"
        return
    here = _HERE if is_open(audience.host) else _NO_PHONES
    yield "visitors", f"{browser_url(audience.host, audience.port, secure)}/join", here
    for url in network_urls(audience.host, audience.port, addresses, secure):
        yield "", f"{url}/join", _THERE


def open_doors(show: Show) -> Iterator[str]:
    """A line for each way in which others in the network reach the show, and what limits it."""
    access, limited = show.network.access, show.network.allow
    others = _OTHERS[access.others] if access.pin else "everyone in the network plays; set network.access.pin"
    for name in ("panel", "oscquery"):
        options = show.controllers[name]
        if options is not None and is_open(options["host"]):
            yield f"{'page' if name == 'panel' else 'OSCQuery'}: {others}"
    panel = show.controllers["panel"]
    if panel is not None and is_open(panel["host"]) and access.pin and show.network.tls is None:
        yield "page: the pin crosses the network unencrypted; network.tls: auto encrypts it"
    if show.audience is not None and is_open(show.audience.host):
        yield f"visitors: {', '.join(limited) if limited else 'everyone in the network'} may join and play in turn"
    if show.osc is not None and is_open(show.osc["host"]):
        senders = ", ".join(limited) if limited else "everyone in the network"
        yield f"OSC: {senders} may send; no pin can protect OSC over UDP, network.allow and osc.allow name the senders"
    if any(sink.transport == "ndi" for sink in show.sinks):
        yield "NDI: everyone in the network may watch the output"
    tempo = show.controllers["tempo"]
    if tempo is not None and tempo["source"] == "link":
        yield "Ableton Link: everyone in the network may change the tempo"


def network_report(show: Show, addresses: Sequence[str], with_qr: bool = False) -> list[str]:
    """The lines that are printed once a show plays.

    Args:
        show: The show.
        addresses: The addresses of this machine in the network.
        with_qr: Whether to draw an address of the network as a QR code: that of visitors, else that of the page.
    """
    rows = address_rows(show, addresses)
    width = max((len(address) for _, address, _ in rows), default=0)
    lines = [f"  {word:8} {address:{width}}  {where}" for word, address, where in rows]
    doors = list(open_doors(show))
    if doors:
        lines += ["open to the network:", *(f"  {door}" for door in doors)]
    if show.network.tls is not None and show.network.tls.is_made_here:
        lines.append("  Browsers warn once about the page's own certificate: continue to the page all the same.")
    pages = [address for _, address, where in rows if where == _THERE and address.endswith(_for_phones(show))]
    if with_qr and pages:
        from lcm_daemon.web.qr import qr_text

        lines += ["", *qr_text(pages[0]).splitlines()]
    return lines


def _for_phones(show: Show) -> str:
    """The end of the address that is drawn as a QR code."""
    panel = show.controllers["panel"]
    return "/join" if show.audience else f":{int(panel['port']) if panel is not None else 0}"
