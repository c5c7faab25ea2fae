import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell's background job ignores ctrl-C, and so would every program that tests stop with it
    signal.signal(signal.SIGINT, signal.default_int_handler)
