"""`python -m halter`: the command line, even if the console script is not on the PATH."""

from halter_kafka import main

if __name__ == "__main__":
    main()
