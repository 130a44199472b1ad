"""Processes that we start.

actor       a process with a log file and a ready file
leash       a program that ends its child when the parent ends
children    starts processes with a log file, and says how one ended
restarting  decides when a process that ended is started again, and when to give it up
supervisor  keeps worker processes running
"""
