"""The command line. A file of this folder is a command, called like the file, and none of them does arithmetic.

Nothing heavy is imported until a command runs: `descend --help`, a wrong flag and the completion of a name answer
before torch would have been found. Hints name heavy types in full, so that they resolve where hints are checked.

Exit codes: 0 done; 1 a training ended badly; 2 the command, the recipe or the data are wrong; 130 interrupted.
"""

from descend.cli._main import main

__all__ = ["main"]
