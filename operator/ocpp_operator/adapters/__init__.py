"""Each module talks to one outside thing and stays thin. No decision is made here: those are core's."""
