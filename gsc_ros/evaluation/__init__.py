"""What a decoded picture is worth to machines, beside other codecs on real files."""
