"""Who uses what, indexed both ways: users by image, and images by user.

Users are containers, sandboxes and strangers by id; images are keys, also of images that are not
listed. Both indexes always agree, and hold no user without an image and no image without a user.
The cost of a change is the number of edges that change.
"""

from __future__ import annotations

from collections.abc import Iterator

NOTHING: frozenset[str] = frozenset()


class Uses:
    """The edges between users and images."""

    def __init__(self) -> None:
        self._users: dict[str, set[str]] = {}  # image key -> ids
        self._images: dict[str, frozenset[str]] = {}  # id -> image keys

    def of(self, user_id: str) -> frozenset[str]:
        """Returns the keys of the images that a user uses."""
        return self._images.get(user_id, NOTHING)

    def users(self, key: str) -> frozenset[str]:
        """Returns the ids of an image's users."""
        return frozenset(self._users.get(key, ()))

    def any_of(self, key: str) -> bool:
        """Whether an image has any user."""
        return key in self._users

    def keys(self) -> Iterator[str]:
        """Yields the keys of all images that have a user."""
        return iter(self._users)

    def set(self, user_id: str, keys: frozenset[str]) -> None:
        """Sets the images that a user uses, replacing those before."""
        before = self._images.get(user_id, NOTHING)
        if keys == before:
            return
        for key in before - keys:
            users = self._users[key]
            users.discard(user_id)
            if not users:
                del self._users[key]
        for key in keys - before:
            self._users.setdefault(key, set()).add(user_id)
        if keys:
            self._images[user_id] = keys
        else:
            self._images.pop(user_id, None)
