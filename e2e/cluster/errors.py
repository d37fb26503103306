"""Why a cluster is not there: this machine cannot have it, or a part of it does not come up."""


class Unavailable(Exception):
    """This machine lacks what a cluster needs; the message says what, and the remedy."""


class DidNotStart(Exception):
    """A part of the cluster does not come up; the message holds the end of its log."""


class DidNotBuild(Exception):
    """An image does not build, by its Dockerfile's fault; the message holds the output's end."""
