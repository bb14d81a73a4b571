"""What a decoded image is worth to machines, beside other codecs on real files."""
