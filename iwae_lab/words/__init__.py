"""Everything said in words, in two vocabularies."""
