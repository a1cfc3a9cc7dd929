"""The vocabulary that controller and host share: jobs go down, records come up. Standard library, Python 3.9."""
