"""What a report says, as tables of text and numbers: rows in, content out. Nothing is read, drawn or written here."""

from attention_harness.report.content.assembly import Content, assemble, settled

__all__ = ["Content", "assemble", "settled"]
