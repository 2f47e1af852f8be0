"""What an e-mail address, a name and a password of an account may be, and nothing about whose they are."""

import unicodedata

from app.errors import BadUserInputError

SHORTEST_EMAIL, LONGEST_EMAIL = 3, 255
LONGEST_NAME = 100
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 128
"""NIST SP 800-63B, 5.1.1.2: 8 at least, 64 or more must be possible, and no rules about kinds of characters. Counted in
code points, as it says. The upper limit keeps a hash from costing more than it must."""

_UNSEEN = {"Cc", "Cf", "Cs"}  # control characters (U+0000, too), zero-width ones, and halves of surrogate pairs


def checked_email(email: str) -> str:
    """The address as it was given. Whether it receives mail only a message to it could tell.

    Raises:
        BadUserInputError: it cannot be one.
    """
    if not SHORTEST_EMAIL <= len(email) <= LONGEST_EMAIL:
        raise BadUserInputError(f"An e-mail address has {SHORTEST_EMAIL} to {LONGEST_EMAIL} characters.")
    if not is_email(email):
        raise BadUserInputError("An e-mail address has one @, something before and after it, and no blanks.")
    return email


def is_email(text: str) -> bool:
    """Whether an account can have this address."""
    name, _, host = text.partition("@")
    return (
        bool(name and host)
        and "@" not in host
        and len(text) <= LONGEST_EMAIL
        and not any(character.isspace() or unicodedata.category(character) in _UNSEEN for character in text)
    )


def checked_name(name: str | None) -> str | None:
    """A given name or a family name as it was given.

    Raises:
        BadUserInputError: it is too long, or holds what cannot be seen.
    """
    if name is not None and len(name) > LONGEST_NAME:
        raise BadUserInputError(f"A name has at most {LONGEST_NAME} characters.")
    if any(unicodedata.category(character) in _UNSEEN - {"Cf"} for character in name or ""):  # joiners are spelling
        raise BadUserInputError("A name has no control characters, nor halves of surrogate pairs.")
    return name


def checked_password(password: str, email: str) -> str:
    """A new password for the account of an address, normalised.

    Raises:
        BadUserInputError: it is too short, too long, the address itself, or cannot be stored.
    """
    normal = normalised(password)
    if normal is None:
        raise BadUserInputError(
            f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters, and neither U+0000 nor halves of "
            "surrogate pairs."
        )
    if normal.casefold() == unicodedata.normalize("NFC", email).casefold():
        raise BadUserInputError("The password must not be the e-mail address.")
    return normal


def normalised(password: str) -> str | None:
    """The password as it is hashed, or None where no account can have it.

    In Normalization Form C (RFC 8265, section 4.2.2): one keyboard types é as one character, another as two.
    """
    if len(password) > 4 * LONGEST_PASSWORD:  # no character is made of more, but for those that nobody types
        return None
    normal = unicodedata.normalize("NFC", password)
    if not SHORTEST_PASSWORD <= len(normal) <= LONGEST_PASSWORD:
        return None
    return None if any(c == "\0" or unicodedata.category(c) == "Cs" for c in normal) else normal
