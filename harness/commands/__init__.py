"""One file per verb: its arguments and what it does. The only users of argparse and of the console."""
