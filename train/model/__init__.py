"""The network, and the ranks it runs on."""
