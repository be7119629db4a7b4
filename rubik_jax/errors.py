"""The one exception that stands for a mistake of the user's rather than of ours."""


class UserError(Exception):
    """Something the user can put right: one sentence that says what, what was found and expected.

    `main` prints the sentence and ends with exit status 2; library callers may catch it.
    """
