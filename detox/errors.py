"""The one kind of error that is meant for people."""


class UserError(Exception):
    """An expected problem; its message is one sentence that says what to do, and is shown as is."""
