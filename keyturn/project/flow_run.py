"""``python -m keyturn.project.flow_run``: the process that a worker of type `keyturn` gives to one run."""

from importlib import import_module

from keyturn.project import enter

if __name__ == "__main__":
    enter()
    import_module("keyturn.project.runs.begin").main()
