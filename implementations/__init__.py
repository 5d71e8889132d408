"""One file per implementation; the file name is the implementation's name. A leading underscore marks shared code."""
