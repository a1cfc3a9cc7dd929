"""The words of the command line: every command's options, help and examples, one file a family of commands.

What a command does is in `bench.commands`, imported when it is called: pandas and matplotlib wait until needed.
"""
