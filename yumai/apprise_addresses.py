"""What an address of a mail box or a chat may say: a closed list, parameter by parameter.

Apprise takes many more: time-outs, retries, files to attach, servers to trust unseen. These are ours to decide.
"""

from __future__ import annotations

SCHEMAS = {
    "email": ("mailto", "mailtos"),
    "dingtalk": ("dingtalk",),
    "wecom": ("wecombot",),
    "feishu": ("feishu", "lark"),
}
"""What Apprise calls each channel."""
PARAMETERS = {
    "email": (
        *("to", "from", "name", "cc", "bcc", "reply"),
        *("user", "pass", "smtp", "mode"),
    ),
    "dingtalk": ("to", "token", "secret"),
    "wecom": ("key",),
    "feishu": ("token",),
}


def problem(channel: str, address: str) -> str | None:
    """Why an address is refused; None: it may be used. Asks Apprise itself, so that both read it alike."""
    # Imported when it is first needed: it takes a while, and many never need it.
    from apprise import Apprise
    from apprise.utils.parse import parse_url

    schema = address.partition(":")[0].lower()
    if schema not in SCHEMAS[channel]:
        return f"want an Apprise address: {' or '.join(SCHEMAS[channel])}://…"
    read = parse_url(address, verify_host=False) or {}
    for name in read.get("qsd", {}):
        if name not in PARAMETERS[channel]:
            known = ", ".join(PARAMETERS[channel])
            return f"parameter {name[:40]!r} is not taken; want {known}"
    if Apprise.instantiate(address, suppress_exceptions=True) is None:
        return "Apprise can't read this address"
    return None
