"""Who uses what, found from both sides: users by image, and images by user.

Users are containers, sandboxes and strangers by id, images are keys, also of images that no listing
holds. Both sides always tell the same, nobody is kept who uses nothing, and no image that nobody
uses. A change costs as much as it changes.
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
        """Keys of the images that somebody uses."""
        return self._images.get(user_id, NOTHING)

    def users(self, key: str) -> frozenset[str]:
        """Ids of those who use an image."""
        return frozenset(self._users.get(key, ()))

    def any_of(self, key: str) -> bool:
        """Whether anybody uses an image."""
        return key in self._users

    def keys(self) -> Iterator[str]:
        """Keys of all images that somebody uses."""
        return iter(self._users)

    def set(self, user_id: str, keys: frozenset[str]) -> None:
        """What somebody uses from now on, and nothing else."""
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
