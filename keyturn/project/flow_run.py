"""``python -m keyturn.project.flow_run``: the process of one run of a `keyturn` worker."""

from importlib import import_module

from keyturn.project import enter

if __name__ == "__main__":
    enter()
    import_module("keyturn.project.runs.begin").main()
