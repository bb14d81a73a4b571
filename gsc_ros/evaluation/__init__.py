"""How useful a decoded image is to machines, beside other codecs on real files."""
