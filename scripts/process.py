"""The resources that a running process has used so far, by /proc."""
import os


def cpu_seconds(pid):
    """User and system time of each thread's name."""
    ticks, used = os.sysconf("SC_CLK_TCK"), {}
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            text = open(f"/proc/{pid}/task/{task}/stat").read()
        except OSError:
            continue
        name, fields = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
        used[name] = used.get(name, 0) + (int(fields[11]) + int(fields[12])) / ticks
    return used
