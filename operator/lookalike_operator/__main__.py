"""`python -m lookalike_operator` is `lookalike-operator`."""

from lookalike_operator.main import main

if __name__ == "__main__":
    main()
