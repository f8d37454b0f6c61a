"""`.nfr` recordings: format, writer, reader, verification, differences."""
