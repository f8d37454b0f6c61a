"""The racer world held against the game: does it stay a road, and the same kind of road?"""
