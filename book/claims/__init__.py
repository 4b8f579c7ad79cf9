"""What the book claims: one file a chapter, one function for each number or table, entered by `claim`."""

from book.ledger import above, below, between, claim, exactly, near

__all__ = ["above", "below", "between", "claim", "exactly", "near"]
