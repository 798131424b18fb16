"""`python -m jaxchat` is the command `jaxchat`."""

if __name__ == "__main__":
    import sys

    from serving.cli.main import main

    sys.exit(main())
