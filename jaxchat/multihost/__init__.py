"""How the processes of a pod talk to each other."""
