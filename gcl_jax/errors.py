"""The one exception for whatever a user can put right.

``main`` prints its message as a single line and exits with status 2; everything
else is a defect of ours and keeps its traceback.
"""


class UserError(ValueError):
    """Bad config, file, array or checkpoint; the message names the culprit and the cure."""
