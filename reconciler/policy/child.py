"""The child process that parses a big policy: a pickled text in, a pickled answer out."""

import pickle
import sys

from .files import PolicyInvalid, parse_text

if __name__ == "__main__":
    try:
        answer: object = parse_text(*pickle.load(sys.stdin.buffer))
    except PolicyInvalid as invalid:
        answer = list(invalid.problems)
    sys.stdout.buffer.write(pickle.dumps(answer))
