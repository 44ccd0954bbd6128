"""Everything that carries a signature: one file per kind, `envelope.py` around them, `acceptance.py` to judge them."""
