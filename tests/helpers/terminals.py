"""A terminal in memory, and what a reader sees of what was written to it."""

import io
import re

_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+")


class Terminal(io.StringIO):
    """Text that is written to a terminal."""

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        """Return the lines that are to be seen, of a terminal that is wide enough; unknown codes are an error."""
        lines, at = [""], 0
        for code in _CODES.findall(self.getvalue()):
            if code == "\r":
                at = 0
            elif code == "\n":
                lines.append("")
                at = 0
            elif code == "\x1b[2K":
                lines[-1] = ""
            elif code.startswith("\x1b"):
                assert code.endswith("m"), f"{code!r} is more than a colour"
            else:
                lines[-1] = lines[-1][:at].ljust(at) + code + lines[-1][at + len(code) :]
                at += len(code)
        return lines
