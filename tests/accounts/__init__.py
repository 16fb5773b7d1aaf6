"""Accounts of what services log: logged = received + dropped, whatever happens to broker and process."""
