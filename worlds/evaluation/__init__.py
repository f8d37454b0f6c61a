"""What is measured of any world, and against what: sessions in rows, who plays them, measures on pictures, gates."""
