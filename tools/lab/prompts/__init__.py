"""How well free text is understood: 200 phrasings, and the comparison of the vocabulary with the sentence encoder."""
